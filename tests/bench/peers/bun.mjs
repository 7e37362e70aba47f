// A peer for tests/bench/relay-run: Bun's own WebSocket server and its native publish.
//   bun bun.mjs PORT CONTROL_SOCKET
// A client names its channel in the query. "publish COUNT SIZE AT" on the control socket sends COUNT events of SIZE bytes
// to every channel.
import { control, eventText } from './control.mjs';

const [port, controlPath] = process.argv.slice(2);
const channels = new Map();

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(port),
  fetch(request, self) {
    const name = new URL(request.url).searchParams.get('id');
    if (!self.upgrade(request, { data: { name } })) return new Response(null, { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    open(socket) {
      const { name } = socket.data;
      socket.subscribe(name);
      channels.set(name, (channels.get(name) ?? 0) + 1);
    },
    message() {},
    close(socket) {
      const { name } = socket.data;
      const left = channels.get(name) - 1;
      if (left === 0) channels.delete(name);
      else channels.set(name, left);
    },
  },
});

control(controlPath, {
  publish(count, size, at) {
    const text = eventText(at, size);
    for (let i = 0; i < count; i++) for (const name of channels.keys()) server.publish(name, text);
  },
});
