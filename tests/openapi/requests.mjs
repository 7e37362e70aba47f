// Requests made from the OpenAPI document: as it shows them, and bent in every way a client gets them wrong.
import { appendFileSync } from 'node:fs';
import http from 'node:http';
import { resolve } from './document.mjs';

const agent = new http.Agent({ keepAlive: true, maxSockets: 32 });

/**
 * Sends a request whose path goes out as it is, and resolves to the exchange as document.mjs checks it. It is also kept in
 * the file that API_EXCHANGES names.
 * @param request {method, path, query, headers, body (text or bytes)}
 */
export function send(url, { method, path, query = '', headers = {}, body }) {
  return new Promise((done, failed) => {
    const length = body === undefined ? {} : { 'Content-Length': Buffer.byteLength(body) };
    const options = { method, path: path + (query && `?${query}`), headers: { ...headers, ...length }, agent };
    const outgoing = http.request(url, options, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('error', failed);
      response.on('end', () => {
        const { statusCode: status, headers: received } = response;
        const exchange = { method, path: path.split('?')[0], status, headers: received, body: Buffer.concat(parts).toString() };
        if (process.env.API_EXCHANGES) appendFileSync(process.env.API_EXCHANGES, `${JSON.stringify(exchange)}\n`);
        done(exchange);
      });
    });
    outgoing.on('error', failed);
    outgoing.end(body);
  });
}

const values = (examples = {}) => Object.values(examples).map((example) => resolve(example).value);

/** Every body that the document shows for the operation, as {type, value}; one without a value if it takes none. */
export function exampleBodies(operation) {
  const content = resolve(operation.object.requestBody)?.content ?? {};
  const bodies = Object.entries(content).flatMap(([type, media]) =>
    values(media.examples).map((value) => ({ type, value })));
  return bodies.length > 0 ? bodies : [{}];
}

export const text = (value) => (value === undefined || typeof value === 'string' ? value : JSON.stringify(value));

/** The operation's path with its placeholders filled by `pick(parameter)`. */
export function fillPath(operation, pick) {
  return operation.path.replace(/\{([^}]+)\}/g, (_, name) =>
    pick(operation.parameters.find((parameter) => parameter.in === 'path' && parameter.name === name)));
}

/** Small, seeded and good enough to choose with (mulberry32); a failing run is repeated with its seed. */
export function generator(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit) => Math.floor(next() * limit);
  return { below, chance: (probability) => next() < probability, of: (list) => list[below(list.length)] };
}

const nested = (depth) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
const NASTY_VALUES = [
  JSON.parse(`${'['.repeat(62)}${']'.repeat(62)}`), JSON.parse(`${'['.repeat(70)}${']'.repeat(70)}`),
  null, true, false, 0, 1, -1, 1.5, 2 ** 31, 2 ** 53, -(2 ** 63), 1e308, '', ' ', '0', '7', 'true', 'null', 'a', [], {}, [1],
  [null], [[]], { a: 1 }, 'x'.repeat(300), 'x'.repeat(20000), '\u0000', 'a\u0000b', '\u0007\u001b[31m', '\n\r\t', '🎲🎉',
  'مرحبا שלום', '\u202eevil', 'e\u0301', "'; DROP TABLE games; --", '" OR 1=1 --', '%', '_', '\\', '${7*7}', '<script>',
  '../../etc/passwd', '2026-13-45T99:99:99Z', '2026-03-15T20:30:00.123456789+14:00', '0000-00-00', '9999-12-31T23:59:59.999Z',
  Array.from({ length: 2000 }, (_, i) => i), Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`k${i}`, i])),
];
const NASTY_SEGMENTS = [
  '0', '-1', '+1', '1.0', '1e3', '007', '99999999999999999999999', '2147483648', '9223372036854775808', 'abc', '%20', '%00',
  '1%00', '%2e%2e', '%2F', '1%2F2', '%25', '%2525', '%F0%9F%8E%B2', '%ff', '%C0%80', '%ED%A0%80', '%E2%80%AE', '1;DROP', "1'--",
  '%27%20OR%201%3D1', '~', '*', '1?', '1%3F', '1%23', 'x'.repeat(3000), '%zz', '%', '%4', 'null', 'undefined', 'true',
];
const NASTY_QUERIES = [
  '', '%', '%zz', '%00', '%ff', '%C3%28', '+', '%2B', '0', '-1', '1', '1.5', 'abc', 'true', 'null', '99999999999999999999',
  '2026-03-15', '2026-03-15T20:30:00Z', '%F0%9F%8E%B2', "'--", '[]', '%5B%5D', 'x'.repeat(2000), 'a&b', 'a=b', '1&page=2',
];
const NASTY_HEADERS = [
  { Authorization: 'Bearer' }, { Authorization: 'Bearer x.y.z' }, { Authorization: 'Basic YTpi' }, { Authorization: '' },
  { 'Idempotency-Key': 'x'.repeat(65) }, { 'Idempotency-Key': 'a b' }, { 'Idempotency-Key': '' }, { 'Idempotency-Key': 'again' },
  { 'If-None-Match': '*' }, { 'If-None-Match': 'W/"x", "y"' }, { 'Content-Type': 'text/plain' },
  { 'Content-Type': 'application/xml' }, { 'Content-Type': 'multipart/form-data' }, { Origin: 'https://evil.example' },
  { 'X-Request-Id': 'mine' }, { 'X-HTTP-Method-Override': 'DELETE' }, { Range: 'bytes=0-1' }, { Cookie: 'a=b' },
];

/** The value with each of its fields, at any depth, replaced in turn by each bad value, left out, and given twice. */
export function* withOneBadField(value) {
  if (value === null || typeof value !== 'object') return;
  for (const key of Object.keys(value)) {
    for (const bad of NASTY_VALUES) yield JSON.stringify(replaced(value, key, bad));
    const without = structuredClone(value);
    if (Array.isArray(without)) without.splice(Number(key), 1);
    else delete without[key];
    yield JSON.stringify(without);
    if (!Array.isArray(value)) yield JSON.stringify(value).replace(/^\{/, `{${JSON.stringify(key)}:[],`);
    for (const inner of withOneBadField(value[key])) yield JSON.stringify(replaced(value, key, JSON.parse(inner)));
  }
}

function replaced(value, key, content) {
  const copy = structuredClone(value);
  copy[key] = content;
  return copy;
}

/** A change somewhere in a JSON value; a new value is returned, the old one is left alone. */
function bend(value, random) {
  if (value !== null && typeof value === 'object' && random.chance(0.8)) {
    const copy = structuredClone(value);
    const keys = Object.keys(copy);
    if (Array.isArray(copy)) {
      if (keys.length > 0 && random.chance(0.7)) {
        const index = random.below(copy.length);
        copy[index] = bend(copy[index], random);
      } else {
        copy.push(random.of(NASTY_VALUES));
      }
      return copy;
    }
    const key = random.of(keys);
    if (key === undefined || random.chance(0.1)) copy[`extra${random.below(10)}`] = random.of(NASTY_VALUES);
    else if (random.chance(0.2)) delete copy[key];
    else copy[key] = bend(copy[key], random);
    return copy;
  }
  return random.of(NASTY_VALUES);
}

/** A change to the bytes of a body. */
function damage(body, random) {
  const bytes = Buffer.from(body);
  const at = random.below(bytes.length + 1);
  const insert = (middle) => Buffer.concat([bytes.subarray(0, at), Buffer.from(middle), bytes.subarray(at)]);
  return random.of([
    () => bytes.subarray(0, at),
    () => insert([random.of([0x00, 0xff, 0xc0, 0x80, 0xed, 0x22, 0x5c, 0x7d, 0x2c])]),
    () => insert(nested(random.of([2, 63, 64, 65, 5000]))),
    () => insert(random.of(['1e999999', '-', '00', '\\ud800', '"\\ud83c"', '/*', 'NaN', '\u2028', '\ufeff'])),
    () => Buffer.from(body.replace(/^\{("(?:[^"\\]|\\.)*":)/, '{$1null,$1')),  // the first key twice
    () => Buffer.from(random.of(['', ' ', 'null', '[]', '0', '""', '{', '{}', '{}{}', nested(10000)])),
  ])();
}

/**
 * A request for the operation with none, one or several things wrong.
 * @param context {random, token, segment(parameter) -> a good path segment, fix(body) -> it, with nothing in it that reaches outside}
 */
export function bentRequest(operation, { random, token, segment, fix }) {
  const wrong = () => random.chance(0.25);
  const { type, value } = random.of(exampleBodies(operation));
  const headers = {};
  if (token && !random.chance(0.03)) headers.Authorization = `Bearer ${token}`;
  if (type) headers['Content-Type'] = type;
  if (wrong()) Object.assign(headers, random.of(NASTY_HEADERS));

  let body = value;
  if (type === 'application/json') {
    body = fix(structuredClone(value));
    for (let changes = random.below(4); changes > 0; changes -= 1) body = bend(body, random);
    body = JSON.stringify(body);
  }
  if (body !== undefined && wrong()) body = damage(body, random);
  if (body === undefined && random.chance(0.05)) body = random.of(['{}', 'x', '[1]']);

  const known = operation.parameters.filter((parameter) => parameter.in === 'query');
  const query = known.filter(() => random.chance(0.5)).map(({ name, example, schema }) => {
    const good = example ?? resolve(schema)?.enum?.[0] ?? resolve(schema)?.default ?? '1';
    return `${name}=${wrong() ? random.of(NASTY_QUERIES) : encodeURIComponent(good)}`;
  });
  if (random.chance(0.05)) query.push(`${random.of(['x', '%ff', '', 'limit', 'page'])}=${random.of(NASTY_QUERIES)}`);

  const path = fillPath(operation, (parameter) => (wrong() ? random.of(NASTY_SEGMENTS) : segment(parameter)));
  const method = random.chance(0.03) ? random.of(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) : operation.method;
  const carries = !['GET', 'HEAD', 'OPTIONS'].includes(method);
  return { method, path, query: query.join('&'), headers, body: carries ? body : undefined };
}
