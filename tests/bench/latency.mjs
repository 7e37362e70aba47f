// Commit-to-client latency: latency.mjs URL TOKEN_FILE SESSION CLIENTS EVENTS
// Each event carries the time its handler put on it just before COMMIT, to the millisecond; the clients run on the same
// clock. Prints p50 and p99 in milliseconds over all clients.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const WebSocket = createRequire(new URL('../e2e/package.json', import.meta.url))('ws');
const [url, tokenFile, session, clients, events] = process.argv.slice(2);
const token = readFileSync(tokenFile, 'utf8').trim();
const samples = [];

async function connect() {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/api/sessions/live`);
  await new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('open', () => socket.send(JSON.stringify({ type: 'auth', token })));
    socket.on('message', (data) => {
      const message = JSON.parse(data);
      if (message.type === 'auth_success') socket.send(JSON.stringify({ type: 'subscribe', sessionId: Number(session) }));
      if (message.type === 'subscribed') resolve();
      if (message.type === 'player-count.updated') {
        samples.push(performance.timeOrigin + performance.now() - Date.parse(message.timestamp));
      }
    });
  });
  return socket;
}

const sockets = [];
for (let i = 0; i < Number(clients); i++) sockets.push(await connect());
const wanted = Number(clients) * Number(events);
for (let i = 0; i < Number(events); i++) {
  const answer = await fetch(`${url}/api/sessions/${session}/games/1/player-count`, {
    method: 'PATCH', headers: { Authorization: `Bearer ${token}` }, body: JSON.stringify({ player_count: i % 9 }),
  });
  if (answer.status !== 200) throw new Error(`PATCH answered ${answer.status}`);
  await answer.text();
  await new Promise((resolve) => setTimeout(resolve, 10)); // about 100 events a second at the most
}
const end = Date.now() + 10000;
while (samples.length < wanted && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
if (samples.length !== wanted) throw new Error(`${samples.length} of ${wanted} events arrived`);
samples.sort((a, b) => a - b);
const at = (p) => samples[Math.floor((samples.length - 1) * p)].toFixed(1);
console.log(`${clients} clients, ${events} events: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms (clock resolution 1 ms)`);
for (const socket of sockets) socket.terminate();
