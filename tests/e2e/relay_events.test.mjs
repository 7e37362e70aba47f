// What the relay itself does, as a webhook is told of it: from a client's socket to the receiver's door.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, test } from 'node:test';
import { Stack, receiver, until } from './stack.mjs';

let stack;
before(async () => { stack = await Stack.up(); });
after(() => stack?.down());

const secret = 'a shared secret';

async function webhook(hook, events, more = {}) {
  const fields = { name: 'test', url: hook.url, secret, events, ...more };
  const { status, body } = await stack.call('POST', '/api/webhooks', fields);
  assert.equal(status, 201);
  return body.id;
}

const remove = (id) => stack.call('DELETE', `/api/webhooks/${id}`);
const bodies = (hook) => hook.received.map(({ body }) => JSON.parse(body));

/** The first body of this type; waits for it. */
const told = (hook, type) => until(type, () => bodies(hook).find(({ event }) => event === type));

async function enter(token) {
  const client = await stack.connect();
  const { socketId } = await client.next('connection_established');
  client.send({ type: 'auth', token });
  await client.next('auth_success');
  return { client, socketId };
}

test('all eight events arrive, signed, with their time in milliseconds', async () => {
  const hook = await receiver();
  const started = Date.now();
  const id = await webhook(hook, [
    'connection', 'disconnection', 'subscribe', 'unsubscribe', 'broadcast', 'presence_join', 'presence_leave', 'client_event',
  ]);
  const token = await stack.tokenOf('ann', 'bot');
  const { client, socketId } = await enter(token); // at once: the relay was told of the webhook
  const channel = 'presence-lobby';
  client.send({ type: 'subscribe', channel, data: { colour: 'red' } });
  await client.next('subscribed');
  client.send({ type: 'client_event', channel, event: 'client-typing', data: { on: true }, ack: '1' });
  await client.next('ack');
  await stack.call('POST', '/api/broadcast', { channel, event: 'told', data: [1] });
  client.send({ type: 'unsubscribe', channel });
  await client.next('unsubscribed');
  await told(hook, 'presence_leave');
  client.socket.close(4001, 'so long');
  await told(hook, 'disconnection');

  const wanted = {
    subscribe: { socketId, channel, channelData: { colour: 'red' } },
    unsubscribe: { socketId, channel },
    broadcast: { channel, event: 'told', data: [1] },
    presence_join: { channel, id: 'ann', info: { colour: 'red' } },
    presence_leave: { channel, id: 'ann', info: { colour: 'red' } },
    client_event: { socketId, channel, event: 'client-typing', data: { on: true } },
    disconnection: { socketId, code: 4001, reason: 'so long' },
  };
  const { data: connection } = await told(hook, 'connection');
  const { connectedAt, ...who } = connection;
  assert.deepEqual(who, { socketId, user: { id: 'ann', name: 'ann', role: 'bot' } });
  assert.ok(connectedAt >= started && connectedAt <= Date.now(), String(connectedAt));
  for (const [type, data] of Object.entries(wanted)) assert.deepEqual((await told(hook, type)).data, data, type);

  assert.equal(hook.received.length, 8);
  for (const { headers, body } of hook.received) {
    const text = body.toString();
    const { event, timestamp } = JSON.parse(text);
    assert.deepEqual(Object.keys(JSON.parse(text)), ['event', 'timestamp', 'data']);
    assert.ok(Number.isInteger(timestamp) && timestamp >= started && timestamp <= Date.now(), event);
    assert.equal(headers['x-webhook-event'], event);
    assert.equal(headers['x-webhook-signature'], `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`);
    const standard = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${text}`;
    assert.equal(headers['webhook-signature'], `v1,${createHmac('sha256', secret).update(standard).digest('base64')}`);
    assert.ok(!text.includes(token) && !text.includes('eyJ'), 'no token');
  }
  const order = bodies(hook).map(({ event }) => event)
    .filter((type) => ['connection', 'subscribe', 'unsubscribe', 'disconnection'].includes(type));
  assert.deepEqual(order, ['connection', 'subscribe', 'unsubscribe', 'disconnection']);
  await remove(id);
  hook.close();
});

test('the end of an event stream is told as well', async () => {
  const hook = await receiver();
  const id = await webhook(hook, ['*']);
  const session = await stack.freshSession();
  const stop = new AbortController();
  const stream = await fetch(`${stack.url}/api/sessions/live?sessionId=${session.id}`, {
    headers: { Accept: 'text/event-stream', Authorization: `Bearer ${stack.token}` }, signal: stop.signal,
  });
  assert.equal(stream.status, 200);
  const { data } = await told(hook, 'subscribe');
  assert.equal(data.channel, `session.${session.id}`);
  stop.abort();
  assert.equal((await told(hook, 'disconnection')).data.socketId, data.socketId);
  await remove(id);
  hook.close();
});

test('what no webhook asks for leaves no trace', async () => {
  const hook = await receiver();
  const id = await webhook(hook, ['disconnection', 'game.added']);
  const { client } = await enter(stack.token);
  client.send({ type: 'subscribe', channel: 'presence-lobby' });
  await client.next('subscribed');
  client.close();
  await told(hook, 'disconnection');
  assert.deepEqual(bodies(hook).map(({ event }) => event), ['disconnection']);
  const { body: deliveries } = await stack.call('GET', `/api/webhooks/${id}/logs`);
  assert.equal(deliveries.length, 1);
  await remove(id);
  hook.close();
});

test('a stopping relay still tells of its clients, and the next one delivers it', async () => {
  const hook = await receiver();
  const id = await webhook(hook, ['disconnection']);
  const clients = await Promise.all(Array.from({ length: 20 }, () => enter(stack.token)));
  await stack.control('restart', 'relay-1a');
  const ids = clients.map(({ socketId }) => socketId).sort();
  const gone = () => bodies(hook).filter(({ data }) => ids.includes(data.socketId));
  await until('all goodbyes', () => gone().length === 20, 30000);
  assert.deepEqual(gone().map(({ data }) => data.socketId).sort(), ids);
  for (const { data } of gone()) assert.deepEqual([data.code, data.reason], [1012, 'service restart']);
  await remove(id);
  hook.close();
});
