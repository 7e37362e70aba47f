// Two relays behind one nginx, which sends a client to either: to clients they are one.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Stack, receiver, until } from './stack.mjs';

let stack;
before(async () => { stack = await Stack.up('--relays', '2'); });
after(() => stack?.down());

/** A metric of each relay; 0 of one that does not answer. */
function metric(name) {
  return Promise.all(stack.relays().map(async (url) => {
    const text = await fetch(`${url}/metrics`).then((answer) => answer.text(), () => '');
    const line = text.split('\n').find((one) => one.startsWith(`gamepicker_relay_${name} `));
    return line ? Number(line.split(' ')[1]) : 0;
  }));
}

const total = async (name) => (await metric(name)).reduce((sum, one) => sum + one, 0);

/** A client of that relay (0 or 1), authenticated: tries until nginx has sent one there. */
function on(relay, token = stack.token) {
  return until(`a client of relay ${relay + 1}`, async () => {
    const accepted = 'handshakes_total{status="101"}';
    const before = await metric(accepted);
    const client = await stack.connect();
    const grown = (await metric(accepted)).map((count, i) => count - before[i]);
    assert.equal(grown[0] + grown[1], 1, 'nobody else connects meanwhile');
    if (grown[relay] === 1) {
      client.send({ type: 'auth', token });
      await client.next('auth_success');
      return client;
    }
    client.close();
    await client.closed;
    return false;
  });
}

async function follow(client, channel, offset) {
  client.send({ type: 'subscribe', channel, offset });
  return client.next('subscribed');
}

async function broadcast(channel, data) {
  assert.equal((await stack.call('POST', '/api/broadcast', { channel, event: 'told', data })).status, 202);
}

const heard = (client) => client.messages.filter(({ type }) => type === 'told').map(({ offset, data }) => [offset, data]);
const upTo = (last) => Array.from({ length: last }, (_, i) => [i + 1, i + 1]);

test('a client that resumes on the other relay gets what it missed', async () => {
  const first = await on(0);
  await follow(first, 'moving');
  await broadcast('moving', 1);
  await broadcast('moving', 2);
  await until('both', () => heard(first).length === 2);
  first.close();
  await first.closed;
  for (const missed of [3, 4, 5]) await broadcast('moving', missed);

  const second = await on(1);
  assert.equal((await follow(second, 'moving', 2)).recovered, true);
  await broadcast('moving', 6);
  await until('the newest', () => heard(second).some(([offset]) => offset === 6));
  assert.deepEqual(heard(second), upTo(6).slice(2));
  second.close();
});

test('each event reaches each client exactly once, whichever relay it is with', async () => {
  const clients = [];
  for (let i = 0; i < 6; i += 1) clients.push(await on(i % 2));
  for (const client of clients) await follow(client, 'spread');
  for (let i = 1; i <= 50; i += 1) await broadcast('spread', i);
  // Whatever came twice would come before the last one, as offsets are in order; a second last one before the answer.
  for (const client of clients) {
    await until('the last one', () => heard(client).some(([offset]) => offset === 50));
    client.send({ type: 'ping' });
    await client.next('pong');
    assert.deepEqual(heard(client), upTo(50));
    client.close();
  }
});

test('each webhook delivery is received once, though two relays send them', async () => {
  const hook = await receiver();
  const { body: webhook } = await stack.call('POST', '/api/webhooks', {
    name: 'both', url: hook.url, secret: 'a secret', events: ['broadcast'],
  });
  const before = await total('webhook_attempts_total{outcome="delivered"}');
  const events = 60;
  await Promise.all(Array.from({ length: events }, (_, i) => broadcast('hooked', i)));
  // When nothing is owed any more, nothing is going to come.
  await until('the end of the queue', async () => {
    const delivered = (await total('webhook_attempts_total{outcome="delivered"}')) - before;
    return delivered >= events && (await metric('webhook_pending_deliveries')).every((owed) => owed === 0);
  }, 30000);
  const deliveries = hook.received.map(({ headers }) => headers['x-webhook-delivery']);
  assert.equal(deliveries.length, events);
  assert.equal(new Set(deliveries).size, events);
  assert.equal((await total('webhook_attempts_total{outcome="delivered"}')) - before, events);
  await stack.call('DELETE', `/api/webhooks/${webhook.id}`);
  hook.close();
});

test('the members of a presence channel are those of both relays, and those of a relay that died lapse', async () => {
  const session = await stack.freshSession();
  const channel = `presence-session.${session.id}`;
  const names = ['anna', 'bert', 'cleo', 'dora'];
  const tokens = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await stack.tokenOf(name)])));
  const clients = {};
  for (const [i, name] of names.entries()) {
    clients[name] = await on(i % 2, tokens[name]);
    const { presence } = await follow(clients[name], channel);
    assert.deepEqual([...presence.ids].sort(), names.slice(0, i + 1));
  }
  for (const [i, name] of names.entries()) {
    for (const later of names.slice(i + 1)) assert.equal((await clients[name].next('presence.joined')).data.id, later);
  }

  // Relay 2 dies and stays away: bert comes back, to the other one; dora does not.
  const running = (await stack.control('status').catch(({ stdout }) => stdout)).match(/^(relay-2[ab]) +RUNNING/m)[1];
  const pid = Number(await stack.control('pid', running));
  process.kill(pid, 'SIGSTOP'); // so that it is not started again before it is told to stay away
  const stopped = stack.control('stop', running);
  process.kill(pid, 'SIGKILL');
  const died = Date.now();
  await stopped;
  await clients.bert.closed;
  await clients.dora.closed;
  clients.bert = await stack.connect();
  clients.bert.send({ type: 'auth', token: tokens.bert });
  await clients.bert.next('auth_success');
  await follow(clients.bert, channel);

  const { data } = await clients.anna.next('presence.left');
  assert.ok(Date.now() - died < 30000);
  assert.equal(data.id, 'dora');
  const { presence } = await follow(clients.cleo, channel);
  assert.deepEqual([...presence.ids].sort(), ['anna', 'bert', 'cleo']);
  // bert never left, nor came.
  assert.deepEqual(clients.anna.messages.filter(({ type }) => type.startsWith('presence.')), []);
  for (const client of Object.values(clients)) client.close();
});
