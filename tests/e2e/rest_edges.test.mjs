// What only the whole path from nginx to the handlers shows of the REST contract.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Stack } from './stack.mjs';

let stack;
before(async () => { stack = await Stack.up(); });
after(() => stack?.down());

/** As sent: fetch takes a HEAD's headers, and ours, into its own hands. */
function raw(method, path, headers = {}) {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port: stack.port, method, path, headers }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) }));
    }).on('error', reject).end();
  });
}

test('HEAD is answered with the headers of GET and no body', async () => {
  const get = await raw('GET', '/api/games');
  const head = await raw('HEAD', '/api/games');
  assert.deepEqual([head.status, head.body.length], [200, 0]);
  for (const name of ['content-type', 'content-length', 'etag']) assert.equal(head.headers[name], get.headers[name], name);
  assert.equal(get.headers['content-type'], 'application/json; charset=utf-8');
});

test('the request id is made by nginx, whatever the client says, and the handlers answer with it', async () => {
  const { headers } = await raw('GET', '/api/games/1', { 'X-Request-Id': 'mine' });
  assert.match(headers['x-request-id'], /^[0-9a-f]{32}$/);
});

test('the two uploads may be larger than everything else', async () => {
  const session = await stack.freshSession();
  const chatData = [{ username: 'bob', message: 'x'.repeat(5_000_000), timestamp: new Date().toISOString() }];
  const chat = await stack.call('POST', `/api/sessions/${session.id}/chat-import`, { chatData });
  assert.notEqual(chat.status, 413);
  const messages = Array.from({ length: 20_000 }, (_, i) => ({
    username: `voter ${i}`, message: 'hello '.repeat(15), timestamp: new Date().toISOString(),
  }));
  assert.ok(JSON.stringify(messages).length > 3_000_000);
  const long = await stack.call('POST', `/api/sessions/${session.id}/chat-import`, { chatData: messages });
  assert.equal(long.status, 200, JSON.stringify(long.body));
  const header = 'Pack Name,Title,Min Players,Max Players,Length (minutes),Audience,Family Friendly,Game Type,Secondary Type,Ticker';
  const rows = Array.from({ length: 9_000 }, (_, i) => `${'Pack '.repeat(20)},${'Title '.repeat(20)}${i},1,8,,,,,,`);
  const csvData = [header, ...rows].join('\r\n');
  assert.ok(csvData.length > 2_000_000);
  const csv = await stack.call('POST', '/api/games/import/csv', { csvData, mode: 'append' });
  assert.equal(csv.status, 200, JSON.stringify(csv.body));
});

test('without one of their secrets the programs refuse to start, and name it', () => {
  const root = new URL('../..', import.meta.url).pathname;
  const whole = readFileSync(join(stack.dir, 'gamepicker.conf'), 'utf8');
  const file = join(stack.dir, 'incomplete.conf');
  for (const [program, ...words] of [['handlers/handler', '--resource', 'games'], ['relay/relay']]) {
    for (const key of ['JWT_SECRET', 'SECRET_KEY', 'ADMIN_KEY']) {
      writeFileSync(file, whole.replace(new RegExp(`^${key}=.*$`, 'm'), ''));
      const { status, stderr } = spawnSync(join(root, '.build', process.env.PRESET ?? 'release', program),
        ['--config', file, ...words], { encoding: 'utf8', timeout: 20_000, env: { PATH: process.env.PATH } });
      assert.ok(status > 0, `${program} without ${key}: ${status}`);
      assert.match(stderr, new RegExp(key));
    }
  }
});
