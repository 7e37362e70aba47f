// What nginx refuses, on an instance with low limits.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { check } from '../openapi/document.mjs';
import { send } from '../openapi/requests.mjs';
import { Stack } from './stack.mjs';

let stack;
before(async () => {
  stack = await Stack.up();
  stack.configure({ LIMIT_REQUESTS_PER_SECOND: '1' });
  stack.start();
});
after(() => stack?.down());

test('too many requests of one address get 429 with Retry-After, large uploads too', async () => {
  const statuses = new Set();
  let refused;
  for (let i = 0; i < 300; i += 1) {
    const exchange = await send(stack.url, { method: 'GET', path: '/api/stats' });
    statuses.add(exchange.status);
    if (exchange.status === 429) refused = exchange;
  }
  assert.deepEqual([...statuses].sort(), [200, 429]);
  assert.equal(refused.body, '{"error":"Too many requests"}');
  assert.ok(refused.headers['retry-after']);
  assert.deepEqual(check(refused), []);
  // One a second is let through: any single one may be it.
  const uploads = [];
  for (let i = 0; i < 5; i += 1) {
    uploads.push(await send(stack.url, { method: 'POST', path: '/api/sessions/1/chat-import', body: Buffer.alloc(2_000_000, ' ') }));
  }
  const { body } = uploads.find(({ status }) => status === 429);
  assert.equal(body, '{"error":"Too many requests"}');
});
