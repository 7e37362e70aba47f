// What the peers of tests/bench/relay-run share: commands as lines on a unix socket, and the text of an event.
import { createServer } from 'node:net';

/** `commands`: by name; their arguments are numbers. */
export function control(path, commands) {
  createServer((socket) => {
    let text = '';
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      text += bytes;
      const lines = text.split('\n');
      text = lines.pop();
      for (const line of lines) {
        const [name, ...values] = line.split(' ');
        commands[name](...values.map(Number));
      }
    });
  }).listen(path);
}

/** As long as `size` says, with the time it was published at. */
export function eventText(at, size) {
  const text = `{"type":"bench","timestamp":"2026-01-01T00:00:00.000Z","data":{"at":${at},"pad":"`;
  return `${text.padEnd(size - 3, 'x')}"}}`;
}
