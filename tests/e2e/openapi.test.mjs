// The OpenAPI document walked from outside: every operation as shown, refused, repeated, too large, and without a database.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { check, operations } from '../openapi/document.mjs';
import { bentRequest, exampleBodies, fillPath, generator, send, text, withOneBadField } from '../openapi/requests.mjs';
import { Stack, receiver, until } from './stack.mjs';

let stack;
let hook;
const made = {};

before(async () => {
  stack = await Stack.up();
  hook = await receiver();
  const session = await stack.freshSession();
  const game = await stack.call('POST', `/api/sessions/${session.id}/games`, { game_id: 1, room_code: 'abcd' });
  await stack.call('POST', '/api/votes/live', { username: 'ann', vote: 'up', timestamp: new Date().toISOString() });
  const { body: webhook } = await stack.call('POST', '/api/webhooks',
    { name: 'walk', url: hook.url, secret: 'a shared secret', events: ['*'] });
  await stack.call('POST', `/api/webhooks/test/${webhook.id}`);
  // Then nothing changes any more by itself.
  const [delivery] = await until('all deliveries', async () => {
    const { body } = await stack.call('GET', `/api/webhooks/${webhook.id}/deliveries`);
    return body.every(({ status }) => status === 'succeeded') && body;
  });
  Object.assign(made, { session: session.id, sgid: game.body.id, webhook: webhook.id, delivery: delivery.id });
});
after(async () => {
  await stack?.down();
  hook?.close();
});

const secured = ({ object }) => (object.security ?? []).length > 0;
const isUpload = (operation) => /import/.test(operation.path);

/** A path segment that exists. */
function existing(operation) {
  return ({ name }) => {
    if (name === 'name') return encodeURIComponent('Jackbox Party Pack');
    if (name === 'sgid') return made.sgid;
    if (name === 'deliveryId') return made.delivery;
    if (operation.path.startsWith('/api/sessions')) return made.session;
    return operation.path.startsWith('/api/webhooks') ? made.webhook : 1;
  };
}

/** No example's address is ever sent to. */
const stayHere = (body) => (body?.url === undefined ? body : { ...body, url: hook.url });

/** One request as the document shows it, changed by `changes`; what is wrong with the answer is the test's failure. */
async function ask(operation, changes = {}) {
  const { type, value } = exampleBodies(operation)[0];
  const { headers, ...rest } = changes;
  const exchange = await send(stack.url, {
    method: operation.method,
    path: fillPath(operation, existing(operation)),
    headers: {
      ...(secured(operation) && { Authorization: `Bearer ${stack.token}` }),
      ...(type && { 'Content-Type': type }),
      ...headers,
    },
    body: text(stayHere(value)),
    ...rest,
  });
  assert.deepEqual(check(exchange), [], `${operation.name} -> ${exchange.status}`);
  return exchange;
}

/** Runs the step for all operations that document the status, and asserts that they answer with it. */
async function expectStatus(status, step) {
  const documented = operations.filter(({ object }) => object.responses[status]);
  assert.ok(documented.length > 0);
  for (const operation of documented) {
    const exchange = await step(operation);
    if (exchange) assert.equal(exchange.status, status, `${operation.name}: ${exchange.body}`);
  }
}

const repeatable = (operation) => operation.method === 'POST' && secured(operation);

test('a GET with the ETag it gave is answered with 304', () => expectStatus(304, async (operation) => {
  const first = await ask(operation);
  assert.equal(first.status, 200, operation.name);
  return ask(operation, { headers: { 'If-None-Match': first.headers.etag } });
}));

test('without a token 401, with a broken one 403, before anything else is looked at', async () => {
  const refused = (authorization) => (operation) =>
    secured(operation) && ask(operation, { headers: { Authorization: authorization }, body: '{' });
  await expectStatus(401, refused(''));
  await expectStatus(403, refused('Bearer x.y.z'));
});

test('a body over the limit is refused with 413, whatever the token', () => expectStatus(413, (operation) =>
  ask(operation, { body: Buffer.alloc((isUpload(operation) ? 16 : 1) * 1024 * 1024 + 1, ' ') })));

test('what is not there is a 404', () => expectStatus(404, (operation) => {
  if (!operation.path.includes('{')) return undefined;
  return ask(operation, { path: fillPath(operation, () => 999999) });
}));

test('an idempotency key used for another request is a 409, a malformed one a 400', () => expectStatus(409, async (operation) => {
  if (!repeatable(operation)) return undefined;
  const malformed = await ask(operation, { headers: { 'Idempotency-Key': 'x'.repeat(65) } });
  assert.equal(malformed.status, 400, operation.name);
  const headers = { 'Idempotency-Key': operation.object.operationId };
  await ask(operation, { headers });
  const again = await ask(operation, { headers });
  assert.equal(again.headers['idempotent-replayed'], 'true', operation.name);
  return ask(operation, { headers, query: 'other=1' });
}));

test('every field of every body, wrong in every way, one at a time: refused or taken as documented', async () => {
  const wrong = [];
  let sent = 0;
  const bodies = operations.flatMap((operation) => exampleBodies(operation)
    .filter(({ type }) => type === 'application/json')
    .flatMap(({ value }) => [...withOneBadField(stayHere(value))].map((body) => ({ operation, body }))));
  const lane = async () => {
    for (let next = bodies.pop(); next; next = bodies.pop()) {
      const { operation, body } = next;
      const exchange = await send(stack.url, {
        method: operation.method,
        path: fillPath(operation, existing(operation)),
        headers: { Authorization: `Bearer ${stack.token}`, 'Content-Type': 'application/json' },
        body,
      });
      sent += 1;
      const problems = exchange.status >= 500 ? [exchange.body] : check(exchange);
      if (problems.length > 0) wrong.push({ operation: operation.name, body: body.slice(0, 300), status: exchange.status, problems });
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
  console.log(`${sent} bodies with one bad field`);
  assert.ok(sent > 2000);
  assert.equal(wrong.length, 0, JSON.stringify(wrong.slice(0, 10), undefined, 1));
});

test('emoji, right-to-left text and SQL metacharacters come back as they were sent', async () => {
  const session = await stack.freshSession();
  for (const notes of ['🎲🎉👩‍👩‍👧', 'مرحبا بالعالم שלום', '\u202eevil\u202c', 'e\u0301', "'; DROP TABLE games; -- \\ % _ \"", 'a\tb\nc\u0007']) {
    assert.equal((await stack.call('PUT', `/api/sessions/${session.id}/notes`, { notes })).body.notes, notes);
    assert.equal((await stack.call('GET', `/api/sessions/${session.id}`)).body.notes, notes);
  }
});

test('20,000 bent requests: no 5xx, and no answer that the document does not describe', async () => {
  const seed = Number(process.env.MUTATION_SEED ?? Date.now() % 2 ** 31);
  const count = Number(process.env.MUTATIONS ?? 20000);
  const random = generator(seed);
  const statuses = {};
  const wrong = [];
  let sent = 0;
  const one = async () => {
    const operation = random.of(operations);
    const segment = ({ name }) => (name === 'name' ? 'Jackbox%20Party%20Pack' : String(1 + random.below(30)));
    const request = bentRequest(operation, { random, token: secured(operation) && stack.token, segment, fix: stayHere });
    const exchange = await send(stack.url, request);
    statuses[exchange.status] = (statuses[exchange.status] ?? 0) + 1;
    const problems = exchange.status >= 500 ? [exchange.body] : check(exchange);
    if (problems.length > 0) wrong.push({ request: { ...request, body: request.body?.toString() }, status: exchange.status, problems });
  };
  const lane = async () => {
    while (sent < count) {
      sent += 1;
      await one();
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
  console.log(`mutation seed ${seed}: ${JSON.stringify(statuses)}`);
  assert.equal(wrong.length, 0, JSON.stringify(wrong.slice(0, 10), undefined, 1).slice(0, 20000));
  assert.ok(statuses[200] > count / 20 && statuses[400] > count / 20, 'the requests are neither all good nor all bad');
  assert.equal((await stack.call('GET', '/health/ready')).status, 200);
});

test('without a database every operation that needs it answers 503, and works again by itself afterwards', async () => {
  await stack.control('stop', 'database');
  await expectStatus(503, (operation) => ask(operation, {
    headers: repeatable(operation) ? { 'Idempotency-Key': 'away' } : {},
  }));
  await stack.control('start', 'database');
  await stack.ready();
  const games = await stack.call('GET', '/api/games');
  assert.equal(games.status, 200);
});
