// Every event of the contract's table, as those hear it whom it is for.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Stack, until } from './stack.mjs';

let stack;
before(async () => { stack = await Stack.up(); });
after(() => stack?.down());

async function done(method, path, body) {
  const answer = await stack.call(method, path, body);
  assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

test('what happens to a session reaches its subscribers, in order, in its envelope, and nobody else', async () => {
  const session = await stack.freshSession();
  const path = `/api/sessions/${session.id}`;
  const channel = `session.${session.id}`;
  const follower = await stack.follow(session.id);
  const listener = await stack.connect();
  listener.send({ type: 'auth', token: stack.token });
  await listener.next('auth_success');

  const played = await done('POST', `${path}/games`, { game_id: 1 });
  const removed = await done('POST', `${path}/games`, { game_id: 2 });
  await done('PATCH', `${path}/games/${played.id}/status`, { status: 'playing' });
  await done('PATCH', `${path}/games/${played.id}/player-count`, { player_count: 5 });
  await done('DELETE', `${path}/games/${removed.id}`);
  await done('POST', '/api/votes/live', { username: 'v', vote: 'up', timestamp: new Date().toISOString() });
  await done('POST', `${path}/game-selection`, { game_id: 1, source: 'poll' });
  await done('DELETE', `${path}/game-selection`);
  await done('POST', `${path}/voting/start`);
  const leading = { sessionId: session.id, gameId: 17, label: 'Quiplash 3', votes: 12 };
  follower.send({ type: 'poll.leading', ...leading, ack: 'l' });
  await follower.next('ack');
  await done('POST', `${path}/voting/end`, { delay: 60 });
  await done('POST', `${path}/voting/cancel-end`);
  await done('POST', `${path}/voting/end`);
  await done('POST', `${path}/close`);
  await until('the end', () => follower.messages.some(({ type }) => type === 'session.ended'));

  const heard = follower.messages.filter((message) => message.channel === channel);
  assert.deepEqual(heard.map(({ type }) => type), [
    'game.added', 'game.added', 'game.status-changed', 'player-count.updated', 'game.removed', 'vote.received',
    'game.picked', 'game.dismissed', 'poll.start', 'poll.leading', 'poll.ending', 'poll.ending.cancelled', 'voting.ended',
    'session.ended',
  ]);
  assert.deepEqual(heard.map(({ offset }) => offset), heard.map((_, i) => heard[0].offset + i));
  for (const message of heard) {
    assert.deepEqual(Object.keys(message), ['type', 'timestamp', 'data', 'id', 'channel', 'offset']);
    assert.match(message.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.ok(Number.isSafeInteger(message.id));
  }
  const data = (type) => heard.find((message) => message.type === type).data;
  assert.deepEqual(data('poll.leading'), leading);
  assert.deepEqual(data('voting.ended'), {
    sessionId: session.id, winnerGameId: 17, winnerLabel: 'Quiplash 3', winnerVotes: 12,
  });

  const next = await done('POST', '/api/sessions', { notes: 'the next' });
  for (const client of [follower, listener]) {
    const { data: started, channel: of } = await client.next('session.started', (m) => m.data.session.id === next.id);
    assert.deepEqual([started.session.is_active, started.session.notes, of], [1, 'the next', 'sessions']);
    client.close();
  }
  assert.ok(!listener.messages.some((message) => message.channel === channel));
});

test('a broadcast reaches the subscribers of its channel under its own name', async () => {
  const [subscriber, other] = [await stack.connect(), await stack.connect()];
  for (const client of [subscriber, other]) {
    client.send({ type: 'auth', token: stack.token });
    client.send({ type: 'subscribe', channel: client === subscriber ? 'orders' : 'others' });
    await client.next('subscribed');
  }
  await done('POST', '/api/broadcast', { channel: 'orders', event: 'any.name', data: { any: ['thing', null] } });
  const { data, channel, offset } = await subscriber.next('any.name');
  assert.deepEqual([data, channel, offset], [{ any: ['thing', null] }, 'orders', 1]);
  await done('POST', '/api/broadcast', { channel: 'others', event: 'later', data: 1 });
  await other.next('later');
  assert.ok(!other.messages.some(({ type }) => type === 'any.name'));
  for (const client of [subscriber, other]) client.close();
});

test('a poll in which nobody led ends with nulls, whoever led the one before', async () => {
  const session = await stack.freshSession();
  const follower = await stack.follow(session.id);
  for (const leads of [true, false]) {
    await done('POST', `/api/sessions/${session.id}/voting/start`);
    if (leads) {
      follower.send({ type: 'poll.leading', sessionId: session.id, gameId: 1, label: 'one', votes: 1, ack: 'l' });
      await follower.next('ack');
    }
    await done('POST', `/api/sessions/${session.id}/voting/end`);
    const { data } = await follower.next('voting.ended');
    const winner = leads ? [1, 'one', 1] : [null, null, null];
    assert.deepEqual([data.winnerGameId, data.winnerLabel, data.winnerVotes], winner);
  }
  follower.close();
});
