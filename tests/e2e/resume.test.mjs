// A follower that comes back by its offset after every loss of the relay, as overlays and bots do.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Stack, until } from './stack.mjs';

let stack;
before(async () => { stack = await Stack.up(); });
after(() => stack?.down());

const isEvent = (message) => message.offset !== undefined && message.type !== 'subscribed';

test('a client that resumes by offset hears every event once, in order, however often the relay is killed', async () => {
  const session = await stack.freshSession();
  await stack.call('POST', `/api/sessions/${session.id}/games`, { game_id: 1 });
  const heard = [];
  let following = true;
  let current;

  const follow = async () => {
    while (following) {
      const client = await until('the relay', () => stack.connect(), 30000);
      client.send({ type: 'auth', token: stack.token });
      client.send({ type: 'subscribe', sessionId: session.id, offset: heard.at(-1)?.offset ?? 0 });
      client.socket.on('message', (data) => {
        const message = JSON.parse(data);
        if (message.type === 'subscribed') assert.equal(message.recovered, true);
        if (isEvent(message) && message.channel === `session.${session.id}`) heard.push(message);
      });
      current = client;
      await client.closed;
    }
  };
  const follower = follow();

  const votes = 60;
  for (let i = 0; i < votes; i += 1) {
    if (i % 15 === 10) for (const pid of stack.pids(/relay\/relay/)) process.kill(pid, 'SIGKILL');
    const vote = { username: `voter${i}`, vote: 'up', timestamp: new Date().toISOString() };
    assert.equal((await stack.call('POST', '/api/votes/live', vote)).status, 200);
  }
  await until('every event', () => heard.length >= votes + 1, 60000);  // game.added, and the votes
  following = false;
  current.close();
  await follower;
  assert.deepEqual(heard.map(({ offset }) => offset), heard.map((_, i) => heard[0].offset + i));
  const voters = heard.filter(({ type }) => type === 'vote.received').map(({ data }) => data.vote.username);
  assert.deepEqual(voters, Array.from({ length: votes }, (_, i) => `voter${i}`));
});
