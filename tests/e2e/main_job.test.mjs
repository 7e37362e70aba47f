import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, test } from 'node:test';
import { Stack, receiver, until } from './stack.mjs';

let stack;
before(async () => { stack = await Stack.up(); });
after(() => stack?.down());

const secret = 'a shared secret';

async function webhook(hook, events = ['*']) {
  const { status, body } = await stack.call('POST', '/api/webhooks', { name: 'test', url: hook.url, secret, events });
  assert.equal(status, 201);
  return body.id;
}

/** Bodies as objects, of one event type. */
const bodies = (hook, type) => hook.received.map((r) => JSON.parse(r.body)).filter((b) => b.event === type);

test("nginx's own errors are JSON, also for large uploads", async () => {
  const raw = async (method, path, body) => {
    const { send } = await import('../openapi/requests.mjs');
    return send(stack.url, { method, path, headers: { Authorization: `Bearer ${stack.token}` }, body });
  };
  const trace = await raw('TRACE', '/api/games');
  assert.deepEqual([trace.status, trace.body], [405, '{"error":"Method not allowed"}']);
  assert.match(trace.headers.allow, /POST/);
  const page = await raw('POST', '/openapi.yaml', 'x');
  assert.deepEqual([page.status, page.body, page.headers.allow], [405, '{"error":"Method not allowed"}', 'GET, HEAD']);

  await stack.control('stop', 'handler-sessions');
  const upload = await raw('POST', '/api/sessions/1/chat-import', Buffer.alloc(2_000_000, ' '));
  assert.deepEqual([upload.status, upload.body], [502, '{"error":"Service temporarily unavailable"}']);
  assert.ok(upload.headers['retry-after']);
  await stack.control('start', 'handler-sessions');
  await until('the sessions', async () => (await stack.call('GET', '/api/sessions/active')).status === 200);
});

test('deploy/up prints the URL, where the admin key is, and curl lines', () => {
  assert.match(stack.output, new RegExp(`http://[^ ]*:${stack.port}`));
  assert.match(stack.output, /gamepicker\.conf/);
  assert.ok(stack.output.split('\n').filter((line) => /\bcurl\b/.test(line)).length >= 3);
  assert.ok(!stack.output.includes(stack.setting('ADMIN_KEY')));
});

test('the bot guide: login, connect, auth, active session, subscribe, announce, vote', async () => {
  const session = await stack.freshSession();
  const bot = await stack.connect();
  assert.match((await bot.next('connection_established')).socketId, /^[0-9a-f-]{36}$/);
  bot.send({ type: 'auth', token: stack.token });
  assert.deepEqual(await bot.next('auth_success'), { type: 'auth_success', message: 'Authenticated successfully' });

  const active = (await stack.call('GET', '/api/sessions/active')).body;
  assert.equal(active.id, session.id);
  bot.send({ type: 'subscribe', sessionId: active.id });
  const subscribed = await bot.next('subscribed');
  assert.equal(subscribed.message, `Subscribed to session ${active.id}`);
  assert.equal(subscribed.channel, `session.${active.id}`);

  const added = await stack.call('POST', `/api/sessions/${active.id}/games`, { game_id: 1, room_code: 'abcd' });
  assert.equal(added.status, 201);
  const announced = await bot.next('game.added');
  assert.equal(announced.data.game.title, added.body.title);
  assert.equal(announced.data.game.room_code, 'ABCD');
  assert.equal(announced.channel, `session.${active.id}`);
  assert.equal(announced.offset, subscribed.offset + 1);

  const vote = await stack.call('POST', '/api/votes/live', {
    username: 'viewer', vote: 'up', timestamp: new Date().toISOString(),
  });
  assert.equal(vote.status, 200);
  const received = await bot.next('vote.received');
  assert.equal(received.data.totals.upvotes, vote.body.game.upvotes);
  assert.equal(received.offset, announced.offset + 1);
  bot.send({ type: 'ping' });
  await bot.next('pong');
  bot.send({ type: 'unsubscribe', sessionId: active.id });
  assert.equal((await bot.next('unsubscribed')).message, `Unsubscribed from session ${active.id}`);
  bot.close();
});

test('every authenticated client hears session.started; subscribers hear session.ended', async () => {
  const session = await stack.freshSession();
  const follower = await stack.follow(session.id);
  const listener = await stack.connect();
  listener.send({ type: 'auth', token: stack.token });
  await listener.next('auth_success');
  const stranger = await stack.connect();
  await stack.call('POST', `/api/sessions/${session.id}/close`);
  assert.equal((await follower.next('session.ended')).data.session.is_active, 0);
  const next = (await stack.call('POST', '/api/sessions', {})).body;
  await listener.next('session.started', ({ data }) => data.session.id === next.id); // an earlier one may come late
  stranger.send({ type: 'subscribe', sessionId: next.id });
  assert.equal((await stranger.next('error')).message, 'Not authenticated');
  assert.ok(!stranger.messages.some((m) => m.type === 'session.started'));
  assert.ok(!listener.messages.some((m) => m.type === 'session.ended'));
  for (const client of [follower, listener, stranger]) client.close();
});

test('a webhook receives the exact signed bytes, and its delivery is logged', async () => {
  const hook = await receiver();
  const id = await webhook(hook, ['game.added']);
  const session = await stack.freshSession();
  await stack.call('POST', `/api/sessions/${session.id}/games`, { game_id: 2 });
  const [{ headers, body }] = await until('the delivery', () => hook.received.length && hook.received);
  assert.equal(headers['x-webhook-signature'], `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`);
  assert.equal(headers['x-webhook-event'], 'game.added');
  assert.equal(headers['x-webhook-attempt'], '1');
  assert.equal(headers['content-type'], 'application/json');
  assert.equal(headers['user-agent'], 'Jackbox-Game-Picker-Webhook/1.0');
  const standard = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  assert.equal(headers['webhook-signature'], `v1,${createHmac('sha256', secret).update(standard).digest('base64')}`);
  const parsed = JSON.parse(body);
  assert.deepEqual(Object.keys(parsed), ['event', 'timestamp', 'data']);
  // A receiver that parses and serialises again must get the same bytes.
  assert.equal(JSON.stringify(parsed), body.toString());

  const [log] = await until('the log', async () => {
    const logs = (await stack.call('GET', `/api/webhooks/${id}/logs`)).body;
    return logs.length > 0 && logs;
  });
  assert.equal(log.response_status, 200);
  assert.equal(log.error_message, null);
  assert.equal(log.response_body, 'thanks');
  assert.deepEqual(log.payload, parsed.data);
  await stack.call('DELETE', `/api/webhooks/${id}`);
  hook.close();
});

test('a test delivery arrives also for a disabled webhook', async () => {
  const hook = await receiver();
  const id = await webhook(hook, ['session.ended']);
  await stack.call('PATCH', `/api/webhooks/${id}`, { enabled: false });
  await stack.call('POST', `/api/webhooks/test/${id}`);
  await until('the test delivery', () => hook.received.length);
  assert.equal(JSON.parse(hook.received[0].body).data.game.title, 'Test Game');
  await stack.call('DELETE', `/api/webhooks/${id}`);
  hook.close();
});

test('a failing delivery is tried again and both attempts are logged', async () => {
  const hook = await receiver();
  hook.status = 503;
  const id = await webhook(hook, ['session.started']);
  await stack.freshSession();
  await until('the first attempt', () => hook.received.length);
  hook.status = 200;
  await until('the second attempt', () => hook.received.length > 1, 20000);
  assert.equal(hook.received[1].headers['x-webhook-attempt'], '2');
  assert.equal(hook.received[1].headers['x-webhook-delivery'], hook.received[0].headers['x-webhook-delivery']);
  assert.ok(hook.received[1].body.equals(hook.received[0].body));
  const logs = await until('both logs', async () => {
    const { body } = await stack.call('GET', `/api/webhooks/${id}/logs`);
    return body.length === 2 && body;
  });
  assert.deepEqual(logs.map((l) => [l.attempt, l.response_status]), [[2, 200], [1, 503]]);
  await stack.call('DELETE', `/api/webhooks/${id}`);
  hook.close();
});

test('kill -9 of the relay between commits and pushes loses no event and no webhook', async () => {
  const hook = await receiver();
  const id = await webhook(hook, ['vote.received']);
  const session = await stack.freshSession();
  await stack.call('POST', `/api/sessions/${session.id}/games`, { game_id: 3 });
  const follower = await stack.follow(session.id);
  const votes = 40;
  for (let i = 0; i < votes; i++) {
    if (i === 10 || i === 25) for (const pid of stack.pids(/relay\/relay/)) process.kill(pid, 'SIGKILL');
    const { status } = await stack.call('POST', '/api/votes/live', {
      username: `voter${i}`, vote: 'up', timestamp: new Date().toISOString(),
    });
    assert.equal(status, 200);
  }
  await follower.closed;
  // Whatever fell into the gap is owed to the webhook, and arrives.
  await until('every vote at the receiver', () => {
    return new Set(bodies(hook, 'vote.received').map((b) => b.data.vote.username)).size === votes;
  }, 60000);
  // A client that comes back is told where the channel stands, and goes on from there.
  const again = await until('the relay to be back', () => stack.follow(session.id));
  await stack.call('POST', `/api/sessions/${session.id}/close`);
  assert.equal((await again.next('session.ended')).data.session.games_played, 1);
  again.close();
  await stack.call('DELETE', `/api/webhooks/${id}`);
  hook.close();
});

test('kill -9 of the database and of handlers under load: what was answered with success arrives', async () => {
  const hook = await receiver();
  const id = await webhook(hook, ['vote.received']);
  const session = await stack.freshSession();
  await stack.call('POST', `/api/sessions/${session.id}/games`, { game_id: 4 });
  const follower = await stack.follow(session.id);
  const accepted = [];
  for (let i = 0; i < 60; i++) {
    if (i === 20) for (const pid of stack.pids(/mariadbd/)) process.kill(pid, 'SIGKILL');
    if (i === 40) for (const pid of stack.pids(/--resource votes/)) process.kill(pid, 'SIGKILL');
    const username = `load${i}`;
    // 500 is a COMMIT whose outcome nobody knows, 502 and 503 are a part that is away: the bot tries again.
    await until(`the vote of ${username}`, async () => {
      const { status } = await stack.call('POST', '/api/votes/live', {
        username, vote: 'down', timestamp: new Date().toISOString(),
      });
      assert.ok([200, 409, 500, 502, 503].includes(status), `status ${status}`);
      return status === 200 || status === 409;
    });
    accepted.push(username);
  }
  const all = (names) => accepted.every((name) => names.has(name));
  await until('every vote on the WebSocket', () => {
    return all(new Set(follower.messages.filter((m) => m.type === 'vote.received').map((m) => m.data.vote.username)));
  });
  const offsets = follower.messages.filter((m) => m.channel === `session.${session.id}`).map((m) => m.offset);
  assert.deepEqual(offsets, offsets.map((_, i) => offsets[0] + i), 'offsets without gap or repetition');
  await until('every vote at the receiver', () => {
    return all(new Set(bodies(hook, 'vote.received').map((b) => b.data.vote.username)));
  }, 60000);
  follower.close();
  await stack.call('DELETE', `/api/webhooks/${id}`);
  hook.close();
});

for (const [part, pattern, path] of [
  ['the games handlers', /--resource games/, '/api/games/1'],
  ['the relay', /relay\/relay/, '/health/ready'],
  ['nginx', /nginx: master/, '/health'],
  ['the database', /mariadbd/, '/health/ready'],
]) {
  test(`${part} come back within seconds of a kill -9`, async () => {
    const before = stack.pids(pattern);
    assert.ok(before.length > 0, `${part} not found`);
    for (const pid of before) process.kill(pid, 'SIGKILL');
    await until(`${part} to be back`, async () => {
      const now = stack.pids(pattern);
      return now.length > 0 && !now.some((pid) => before.includes(pid)) && (await stack.call('GET', path)).status === 200;
    });
    const client = await until('a WebSocket', () => stack.connect());
    await client.next('connection_established');
    client.close();
  });
}

test('deploy/up run again keeps data and keys', async () => {
  const { execFileSync } = await import('node:child_process');
  const sessions = (await stack.call('GET', '/api/sessions')).body.length;
  execFileSync('deploy/up', ['--port', stack.port, '--dir', stack.dir, '--no-install', '--preset', process.env.PRESET ?? 'release'],
    { cwd: new URL('../..', import.meta.url).pathname, stdio: 'ignore' });
  assert.equal((await stack.call('GET', '/api/sessions')).body.length, sessions);
});

test('errors of nginx itself are JSON', async () => {
  const big = await fetch(`${stack.url}/api/sessions`, { method: 'POST', body: 'x'.repeat(2 << 20) });
  assert.equal(big.status, 413);
  assert.deepEqual(await big.json(), { error: 'Request body too large' });
  const unknown = await fetch(`${stack.url}/nowhere/at/all`);
  assert.equal(unknown.status, 404);
  assert.deepEqual(await unknown.json(), { error: 'Not found' });
  assert.ok(unknown.headers.get('x-request-id'));
});
