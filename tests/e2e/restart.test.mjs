// What was promised for later is kept over a restart of everything.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Stack, receiver, until } from './stack.mjs';

let stack;
before(async () => { stack = await Stack.up(); });
after(() => stack?.down());

test('the delayed end of a poll comes, once, though everything was stopped when it was due', async (t) => {
  const hook = await receiver();
  t.after(() => hook.close());
  const session = await stack.freshSession();
  await stack.call('POST', '/api/webhooks', { name: 'polls', url: hook.url, secret: 'a secret', events: ['voting.ended'] });
  assert.equal((await stack.call('POST', `/api/sessions/${session.id}/voting/start`)).status, 200);
  const ending = await stack.call('POST', `/api/sessions/${session.id}/voting/end`, { delay: 2 });
  assert.equal(ending.status, 200);
  const due = Date.parse((await stack.call('GET', `/api/sessions/${session.id}`)).body.poll_ends_at);

  stack.stop();
  assert.deepEqual(hook.received, []);
  await until('the poll to be due', () => Date.now() > due, 10000);
  stack.start();

  await until('the webhook', () => hook.received.length > 0);
  assert.equal(JSON.parse(hook.received[0].body).data.sessionId, session.id);
  assert.equal((await stack.call('GET', `/api/sessions/${session.id}`)).body.poll_ends_at, undefined);
  // Nothing is left that could end it once more.
  assert.equal((await stack.call('POST', `/api/sessions/${session.id}/voting/cancel-end`)).status, 409);
  // The receiver stood still while everything was started, maybe for longer than an attempt waits.
  assert.equal(new Set(hook.received.map(({ headers }) => headers['x-webhook-delivery'])).size, 1);
});
