// Receivers that verify what webhooks send them, each in the way of its own trade.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';
import { Stack, receiver, until } from './stack.mjs';

const plain = 'a shared secret, größer als nötig 🎲';
const bytes = randomBytes(24);
const standard = `whsec_${bytes.toString('base64')}`;
const secrets = [
  { name: 'a plain secret', secret: plain, key: Buffer.from(plain) },
  { name: 'a whsec_ secret', secret: standard, key: bytes },
];

let stack;
before(async () => { stack = await Stack.up(); });
after(() => stack?.down());

async function done(method, path, body) {
  const answer = await stack.call(method, path, body);
  assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** A receiver of these events, by one webhook with this secret. */
async function subscribed(secret, events = ['*']) {
  const hook = await receiver();
  const { id } = await done('POST', '/api/webhooks', { name: 'test', url: hook.url, secret, events });
  hook.close = ((close) => async () => {
    await done('DELETE', `/api/webhooks/${id}`);
    close();
  })(hook.close);
  return hook;
}

/** A game with a title that is hard to write, played and voted for. */
async function play(title, pack) {
  const session = await stack.freshSession();
  const game = await done('POST', '/api/games', { pack_name: pack, title, min_players: 2, max_players: 8 });
  await done('POST', `/api/sessions/${session.id}/games`, { game_id: game.id });
  const vote = { username: 'viewer', vote: 'up', timestamp: new Date().toISOString() };
  await done('POST', '/api/votes/live', vote);
}

const hmac = (key, text) => createHmac('sha256', key).update(text).digest('hex');

/** The other sample: over what one gets by serialising the parsed body again. */
function verifyAgain({ headers, body }, { key }) {
  const again = JSON.stringify(JSON.parse(body));
  assert.equal(again, body.toString());
  assert.equal(headers['x-webhook-signature'], `sha256=${hmac(key, again)}`);
}

/** Everything else one can verify about a request; returns the event. */
function verify({ headers, body }, { secret, key }) {
  // The one sample: over the raw bytes.
  assert.equal(headers['x-webhook-signature'], `sha256=${hmac(key, body)}`);
  // openssl, with a key of any bytes.
  const words = ['dgst', '-sha256', '-mac', 'HMAC', '-macopt', `hexkey:${key.toString('hex')}`];
  const digest = execFileSync('openssl', words, { input: body, encoding: 'utf8' });
  assert.equal(headers['x-webhook-signature'], `sha256=${digest.trim().split(/= ?/).pop()}`, 'openssl dgst');
  // The official package: it decodes whsec_ secrets, and takes others as they are in its raw format.
  const webhook = secret.startsWith('whsec_') ? new Webhook(secret) : new Webhook(key, { format: 'raw' });
  assert.deepEqual(webhook.verify(body, headers), JSON.parse(body));
  assert.deepEqual(webhook.verify(body.toString(), headers), JSON.parse(body));
  assert.equal(headers['webhook-id'], headers['x-webhook-delivery']);
  return JSON.parse(body);
}

const titles = [
  'Quiplash 3', 'Émile’s “Größe” ½', '🎲👩‍👩‍👧‍👦🏳️‍🌈 dice', 'مرحبا بالعالم ‏123‏ שלום', '日本語のゲーム',
  '"quoted" \\ back/slash </script>',
  'line\u2028and\u2029paragraph', 'tab\tand\nnewline\b\f', 'a\ufeffb\u200bc\u00a0d\u00add',
  '\u007f and \u0080 and \u009f', '\uffff\ufffd\u{10ffff}',
];

const isVote = ({ headers }) => headers['x-webhook-event'] === 'vote.received';

for (const one of secrets) {
  test(`${one.name}: the official package, openssl and both samples verify hard titles`, async () => {
    const hook = await subscribed(one.secret, ['game.added', 'vote.received', 'session.*']);
    for (const title of titles) await play(title, `${one.name}: ${title}`);
    await until('all votes', () => hook.received.filter(isVote).length === titles.length);
    for (const request of hook.received) verifyAgain(request, one);
    const events = hook.received.map((request) => verify(request, one));
    const added = events.filter(({ event }) => event === 'game.added').map(({ data }) => data.game.title);
    assert.deepEqual(added, titles);
    const voted = events.filter(({ event }) => event === 'vote.received').map(({ data }) => data.game.title);
    assert.deepEqual(voted, titles);
    await hook.close();
  });

  test(`${one.name}: one altered byte is refused`, async () => {
    const hook = await subscribed(one.secret, ['session.started']);
    await stack.freshSession();
    const [{ headers, body }] = await until('the event', () => hook.received.length && hook.received);
    const webhook = one.secret.startsWith('whsec_') ? new Webhook(one.secret) : new Webhook(one.key, { format: 'raw' });
    webhook.verify(body, headers);
    const altered = Buffer.from(body);
    altered[altered.length - 3] ^= 1;
    assert.throws(() => webhook.verify(altered, headers), WebhookVerificationError);
    const late = { ...headers, 'webhook-timestamp': String(Number(headers['webhook-timestamp']) - 3600) };
    assert.throws(() => webhook.verify(body, late), WebhookVerificationError);
    await hook.close();
  });
}

/** What a broadcast brings is not ours: anything that is JSON. As source text. */
const values = {
  'all control characters': JSON.stringify(Array.from({ length: 32 }, (_, i) => `<${String.fromCharCode(i)}>`)),
  'all of Latin-1': JSON.stringify(Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join('')),
  'escapes that need not be': '"\\u0041\\/\\u00e9\\ud83c\\udfb2"',
  'line and paragraph separators': '"\\u2028\u2028\\u2029\u2029"',
  'right to left': '"\u202eشطرنج\u202c שח"',
  emoji: '"👨‍👩‍👧‍👦 🇫🇷 1️⃣"',
  'names that need escapes': '{"\\"":1,"\\\\":2,"\\n":3,"é/":4,"":5}',
  'names out of order': '{"zebra":1,"apple":2,"Zoo":3}',
  'names that are numbers, in order': '{"1":1,"2":2,"10":3,"a":4}',
  'whole numbers': '[0,1,-1,255,65536,2147483647,-2147483648,4294967296,9007199254740991,-9007199254740991]',
  'fractions': '[0.1,-0.5,3.141592653589793,1.7976931348623157e308,5e-324,0.000001,123456.789]',
  'fractions that are whole': '[1.0,-2.0,100.00,0.0]',
  'powers of ten': '[1e3,1E5,1e20,1e21,1e22,1.5e300,1e-6,1e-7,1.25e-7,123e-20]',
  'minus zero': '[-0,-0.0,-0e5]',
  'nothing in it': '[{},[],"",null,true,false]',
  deep: `${'['.repeat(30)}${']'.repeat(30)}`,
  spaces: ' { "a" : [ 1 , 2 ] ,\n\t"b" : { } } ',
};

/** The request that a broadcast of `source` causes. */
async function broadcast(source) {
  const hook = await subscribed(plain, ['broadcast']);
  const response = await fetch(`${stack.url}/api/broadcast`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${stack.token}` },
    body: `{"channel":"test","event":"e","data":${source}}`,
  });
  assert.equal(response.status, 202, await response.text());
  const [request] = await until('the event', () => hook.received.length && hook.received);
  await hook.close();
  return request;
}

for (const [name, source] of Object.entries(values)) {
  test(`a broadcast survives being parsed and serialised by its receiver: ${name}`, async () => {
    const request = await broadcast(source);
    verifyAgain(request, secrets[0]);
    const { data } = verify(request, secrets[0]).data;
    assert.deepEqual(data, JSON.parse(JSON.stringify(JSON.parse(source)))); // which has no minus zero
  });
}

test('whole numbers beyond what JavaScript can hold stay exact', async () => {
  const request = await broadcast('[9007199254740993,18446744073709551615,-9223372036854775808]');
  verify(request, secrets[0]);
  assert.match(request.body.toString(), /"data":\[9007199254740993,18446744073709551615,-9223372036854775808\]/);
});
