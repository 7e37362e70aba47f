// A peer for tests/bench/relay-run: Node's ws, as one writes a push server with it.
//   node ws.mjs PORT CONTROL_SOCKET    with DB_SOCKET, DB_NAME, DB_USER, DB_PASSWORD in the environment for "commit"
// A client names its channel in the query. Commands are lines on the control socket: "publish COUNT SIZE AT" sends COUNT
// events of SIZE bytes to every channel; "commit EVENTS RATE SIZE" commits an event at that rate and, after each COMMIT,
// sends it to channel 1.
import { createServer } from 'node:http';
import mysql from 'mysql2/promise';
import { WebSocketServer } from 'ws';
import { control, eventText } from './control.mjs';

const [port, controlPath] = process.argv.slice(2);
const channels = new Map();

const server = createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
sockets.on('connection', (socket, request) => {
  const name = new URL(request.url, 'http://peer').searchParams.get('id');
  const members = channels.get(name) ?? new Set();
  channels.set(name, members.add(socket));
  socket.on('error', () => {});
  socket.on('close', () => {
    members.delete(socket);
    if (members.size === 0) channels.delete(name);
  });
});

function send(members, text) {
  const bytes = Buffer.from(text);
  for (const socket of members) socket.send(bytes, { binary: false });
}

async function commit(events, rate, size) {
  const { DB_SOCKET, DB_NAME, DB_USER, DB_PASSWORD } = process.env;
  const database = await mysql.createConnection({
    socketPath: DB_SOCKET, database: DB_NAME, user: DB_USER, password: DB_PASSWORD,
  });
  await database.query('CREATE TABLE IF NOT EXISTS bench_events (id BIGINT AUTO_INCREMENT PRIMARY KEY, body MEDIUMTEXT)');
  const begin = performance.now();
  for (let i = 0; i < events; i++) {
    const wait = begin + (i * 1000) / rate - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    await database.beginTransaction();
    const text = eventText(process.hrtime.bigint(), size);
    await database.execute('INSERT INTO bench_events (body) VALUES (?)', [text]);
    await database.commit();
    send(channels.get('1') ?? [], text);
  }
  await database.query('DROP TABLE bench_events');
  await database.end();
}

control(controlPath, {
  publish(count, size, at) {
    const text = eventText(at, size);
    for (let i = 0; i < count; i++) for (const members of channels.values()) send(members, text);
  },
  commit,
});
server.listen(Number(port), '127.0.0.1', 4096);
