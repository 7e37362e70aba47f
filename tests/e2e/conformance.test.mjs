// RFC 6455 on the wire: what the fuzzing client of Autobahn checks in its sections 1 to 7, 9 and 10, against `relay --echo`,
// which has the relay's handshake and framing. A case is what the client writes (each buffer a write) and all that the
// server says until it ends the connection; where the server does not close, the client does, with 1000.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  EchoServer,
  RawClient,
  binary,
  chopped,
  close,
  fragments,
  frame,
  more,
  opcodes,
  ping,
  pong,
  said,
  text,
} from './wire.mjs';

let server;
before(async () => {
  server = await new EchoServer().start();
});
after(async () => {
  assert.equal(await server?.stop(), 0, 'SIGTERM ends it at once');
});

async function check(name, sent, expected) {
  const client = await new RawClient(server.port).open();
  const closes = expected.at(-1)?.startsWith('close') ?? false;
  await client.send(sent);
  if (!closes) await client.send(close(1000));
  try {
    assert.deepEqual(await client.all(), closes ? expected : [...expected, 'close 1000']);
  } catch (error) {
    error.message = `${name}: ${error.message}`;
    throw error;
  }
}

/** Rows of [name, what is sent, what is answered]. */
function table(promise, rows) {
  test(promise, async () => {
    for (const [name, sent, expected] of rows) await check(name, sent, expected);
  });
}

const hello = 'Hello, world!';
const bytes = (...values) => Buffer.from(values);
const refused = ['close 1002'];
const notText = ['close 1007'];
const echoed = (payload, kind = 'text') => [said(kind, payload)];
const kinds = [
  ['text', text, '*'],
  ['binary', binary, '\xfe'],
];

for (const [kind, make, fill] of kinds) {
  const of = (size) => Buffer.alloc(size, fill, 'latin1');
  table(`1: ${kind} messages of every form of length are echoed, however they are cut`, [
    ...[0, 125, 126, 127, 128, 65535, 65536].map((n) => [`${n} bytes`, make(of(n)), echoed(of(n), kind)]),
    ...[0, 125, 126, 128].map((n) => [`${n} bytes, one at a time`, chopped(make(of(n)), 1), echoed(of(n), kind)]),
    ['65536 bytes, 997 at a time', chopped(make(of(65536)), 997), echoed(of(65536), kind)],
  ]);
}

const full = Buffer.alloc(125, 0xfe);
const notUtf8 = bytes(0, 255, 254, 253, 252, 251, 0, 255);
const ten = Array.from({ length: 10 }, (_, i) => `payload-${i}`);
table('2: every ping is answered with its payload, in order; a pong nobody asked for is not answered', [
  ['empty', ping(), echoed('', 'pong')],
  ['text', ping(hello), echoed(hello, 'pong')],
  ['bytes that are not UTF-8', ping(notUtf8), echoed(notUtf8, 'pong')],
  ['125 bytes', ping(full), echoed(full, 'pong')],
  ['126 bytes', ping(Buffer.alloc(126, 0xfe)), refused],
  ['125 bytes, one at a time', chopped(ping(full), 1), echoed(full, 'pong')],
  ['an empty pong', pong(), []],
  ['a pong', pong('unasked'), []],
  ['a pong, then a ping', [pong('unasked'), ping('asked')], echoed('asked', 'pong')],
  ['ten pings', ten.map((one) => ping(one)), ten.map((one) => said('pong', one))],
  [
    'ten pings, a byte at a time',
    chopped(
      ten.map((one) => ping(one)),
      1,
    ),
    ten.map((one) => said('pong', one)),
  ],
]);

table('3: a reserved bit fails the connection, behind the echo of what came before it', [
  ['1, text', text(hello, { rsv: 1 }), refused],
  ['2, between text and ping', [text(hello), text(hello, { rsv: 2 }), ping()], [...echoed(hello), ...refused]],
  ['3, in one write', Buffer.concat([text(hello), text(hello, { rsv: 3 }), ping()]), [...echoed(hello), ...refused]],
  ['4, a byte at a time', chopped([text(hello), text(hello, { rsv: 4 }), ping()], 1), [...echoed(hello), ...refused]],
  ['5, binary', binary(full, { rsv: 5 }), refused],
  ['6, ping', ping(hello, { rsv: 6 }), refused],
  ['7, close', frame(opcodes.close, bytes(3, 232), { rsv: 7 }), refused],
]);

table(
  '4: a reserved opcode fails the connection, behind the echo of what came before it',
  [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].flatMap((opcode) => [
    [`${opcode}, empty`, frame(opcode), refused],
    [`${opcode}, with payload`, frame(opcode, 'reserved'), refused],
    [`${opcode}, between text and ping`, [text(hello), frame(opcode), ping()], [...echoed(hello), ...refused]],
    [
      `${opcode}, a byte at a time`,
      chopped([text(hello), frame(opcode, 'reserved'), ping()], 1),
      [...echoed(hello), ...refused],
    ],
  ]),
);

/** The same frames in a write each, in one write, and a byte at a time. */
const ways = (name, frames, expected) => [
  [name, frames, expected],
  [`${name}, in one write`, Buffer.concat(frames), expected],
  [`${name}, a byte at a time`, chopped(frames, 1), expected],
];
const open = { fin: false };
const two = [text('fragment1', open), more('fragment2')];
const joined = echoed('fragment1fragment2');
table('5: fragments are joined, control frames stand between them, and nothing else does', [
  ['5.1, a ping in two fragments', [ping('fragment1', open), more('fragment2')], refused],
  ['5.2, a pong in two fragments', [pong('fragment1', open), more('fragment2')], refused],
  ...ways('5.3-5.5, text in two fragments', two, joined),
  ...ways('5.6-5.8, a ping between them', [two[0], ping('ping'), two[1]], [said('pong', 'ping'), ...joined]),
  ...ways('5.9-5.11, a last fragment of nothing', [more('orphan'), text(hello)], refused),
  ...ways('5.12-5.14, a fragment of nothing', [more('orphan', open), text(hello)], refused),
  [
    '5.15, a fragment behind the last one',
    [...two, more('fragment3', open), text('fragment4')],
    [...joined, ...refused],
  ],
  ['5.16, fragments of nothing, each before a text', [more('a', open), text('b'), more('c', open), text('d')], refused],
  ['5.17, last fragments of nothing, each before a text', [more('a'), text('b'), more('c'), text('d')], refused],
  ['5.18, two first fragments', [text('fragment1', open), text('fragment2')], refused],
  ...ways(
    '5.19-5.20, five fragments, two pings',
    [text('a', open), more('b', open), ping('1'), more('c', open), more('d', open), ping('2'), more('e')],
    [said('pong', '1'), said('pong', '2'), said('text', 'abcde')],
  ),
]);

test('5.19: a ping between fragments is answered before the message is whole', async () => {
  const client = await new RawClient(server.port).open();
  await client.send([text('a', open), ping('now')]);
  while (client.frames.seen.length === 0) await Promise.race([new Promise(setImmediate), client.ended]);
  assert.deepEqual(client.frames.seen, echoed('now', 'pong'));
  await client.send([more('b'), close(1000)]);
  assert.deepEqual(await client.all(), [...echoed('now', 'pong'), ...echoed('ab'), 'close 1000']);
});

const kosme = Buffer.from('κ\u1f79σμε'); // characters of two bytes and one of three
const sentence = Buffer.from('Hello-µ@ßöäüàá-UTF-8!!');
const surrogate = Buffer.concat([kosme, bytes(0xed, 0xa0, 0x80), Buffer.from('edited')]);
const beyond = bytes(0xf4, 0x90, 0x80, 0x80);
table('6.1-6.3: text is checked as one, whatever the fragments', [
  ['6.1.1, empty', text(''), echoed('')],
  ['6.1.2, three empty fragments', [text('', open), more('', open), more('')], echoed('')],
  ['6.1.3, two empty fragments around one', [text('', open), more('middle', open), more('')], echoed('middle')],
  ['6.2.1, whole', text(sentence), echoed(sentence)],
  ['6.2.2, cut between characters', [text('Hello-µ@ß', open), more('öäüàá-UTF-8!!')], echoed(sentence)],
  ['6.2.3, fragments of a byte', fragments(opcodes.text, sentence, 1), echoed(sentence)],
  ['6.2.4, fragments of a byte', fragments(opcodes.text, kosme, 1), echoed(kosme)],
  [
    '6.2, fragments of a byte with pings between',
    fragments(opcodes.text, kosme, 1).flatMap((one, i) => (i === 0 ? [one] : [ping(`${i}`), one])),
    [...Array.from({ length: kosme.length - 1 }, (_, i) => said('pong', `${i + 1}`)), ...echoed(kosme)],
  ],
  ['6.3.1, a surrogate', text(surrogate), notText],
  ['6.3.2, a surrogate, fragments of a byte', fragments(opcodes.text, surrogate, 1), notText],
]);

table('6.4: the first wrong byte ends the connection; nothing behind it is waited for', [
  [
    '6.4.1, in the second fragment, and not before',
    [text(kosme, open), ping(), more(beyond, open)],
    [...echoed('', 'pong'), ...notText],
  ],
  [
    '6.4.2, over two fragments, and not before',
    [text(Buffer.concat([kosme, beyond.subarray(0, 1)]), open), ping(), more(beyond.subarray(1, 2), open)],
    [...echoed('', 'pong'), ...notText],
  ],
  ['6.4.3, inside a frame', text(Buffer.concat([kosme, beyond]), { announced: 100 }), notText],
  [
    '6.4.4, inside a frame, a byte at a time',
    chopped(text(Buffer.concat([kosme, beyond.subarray(0, 2)]), { announced: 100 }), 1),
    notText,
  ],
  ['6.4.3, inside a frame of 16 MiB', text(beyond.subarray(0, 2), { announced: 1 << 24 }), notText],
]);

const hex = (all) => all.split(',').map((one) => Buffer.from(one.replaceAll(' ', ''), 'hex'));
const run = (from, to, then = []) =>
  Buffer.from(Array.from({ length: to - from + 1 }, (_, i) => [from + i, ...then]).flat());
const valid = {
  '6.5, text of several lengths': [kosme, sentence, Buffer.from('a'), Buffer.from('aé€😀')],
  '6.6, up to a character': [2, 5, 7, 9, 11].map((n) => kosme.subarray(0, n)),
  '6.7, first of each length': hex('00,c280,e0a080,f0908080'),
  '6.9, last of each length': hex('7f,dfbf,efbfbf,f48fbfbf'),
  '6.11, around the gaps': hex('ed9fbf,ee8080,efbfbd,f48fbfbf'),
  '6.22, no characters, but valid': hex('efbfbe,efbfbf').concat(
    Array.from({ length: 16 }, (_, plane) =>
      [0xfffe, 0xffff].map((low) => Buffer.from(String.fromCodePoint(((plane + 1) << 16) + low))),
    ).flat(),
  ),
  '6.23, specials': [0xfff9, 0xfffa, 0xfffb, 0xfffc, 0xfffd, 0xfffe, 0xffff].map((code) =>
    Buffer.from(String.fromCodePoint(code)),
  ),
};
/** Wrong before they end. */
const invalid = {
  '6.8, first of five and six bytes': hex('f888808080,fc8480808080'),
  '6.10, last of four to six bytes': hex('f7bfbfbf,fbbfbfbfbf,fdbfbfbfbfbf'),
  '6.11, first beyond the last': [beyond],
  '6.12, continuations of nothing': [...hex('80,bf,80bf,80bf80,80bf80bf,80bf80bf80,80bf80bf80bf'), run(0x80, 0xbf)],
  '6.13, first bytes alone': [
    run(0xc0, 0xdf, [0x20]),
    run(0xe0, 0xef, [0x20]),
    run(0xf0, 0xf7, [0x20]),
    run(0xf8, 0xfb, [0x20]),
    run(0xfc, 0xfd, [0x20]),
  ],
  '6.14, the last byte missing': hex('c0,e080,f08080,f8808080,fc80808080,f7bfbf,fbbfbfbf,fdbfbfbfbf'),
  '6.15, one such behind the other': [
    Buffer.concat(hex('c0,e080,f08080,f8808080,fc80808080,df,efbf,f7bfbf,fbbfbfbf,fdbfbfbfbf')),
  ],
  '6.16, impossible bytes': hex('fe,ff,fefeffff'),
  '6.17, overlong slash': hex('c0af,e080af,f08080af,f8808080af,fc80808080af'),
  '6.18, overlong, the largest': hex('c1bf,e09fbf,f08fbfbf,f887bfbfbf,fc83bfbfbfbf'),
  '6.19, overlong zero': hex('c080,e08080,f0808080,f880808080,fc8080808080'),
  '6.20, half a surrogate pair': hex('eda080,edadbf,edae80,edafbf,edb080,edbe80,edbfbf'),
  '6.21, surrogate pairs': hex(
    'eda080edb080,eda080edbfbf,edadbfedb080,edadbfedbfbf,edae80edb080,edae80edbfbf,edafbfedb080,edafbfedbfbf',
  ),
};
/** Wrong only because they end. */
const unfinished = {
  '6.6, up to the middle of a character': [1, 3, 4, 6, 8, 10].map((n) => kosme.subarray(0, n)),
  '6.14, the last byte missing': hex('df,efbf,f48fbf'),
};
const rows = (groups, row) =>
  Object.entries(groups).flatMap(([name, all]) => all.map((one) => row(`${name}, ${one.toString('hex')}`, one)));
table('6.5-6.23: valid UTF-8 is echoed, whole and in fragments of a byte', [
  ...rows(valid, (name, one) => [name, text(one), echoed(one)]),
  ...rows(valid, (name, one) => [`${name}, fragments`, fragments(opcodes.text, one, 1), echoed(one)]),
]);
table('6.6-6.21: invalid UTF-8 is refused with 1007, whole and in fragments of a byte', [
  ...rows(invalid, (name, one) => [name, text(one), notText]),
  ...rows(unfinished, (name, one) => [name, text(one), notText]),
  ...rows(unfinished, (name, one) => [`${name}, fragments`, fragments(opcodes.text, one, 1), notText]),
]);
table('6.8-6.21: invalid UTF-8 is refused inside a message that has not ended', [
  ...rows(invalid, (name, one) => [name, text(one, { announced: 1000 }), notText]),
  ...rows(invalid, (name, one) => [
    `${name}, fragments`,
    fragments(opcodes.text, Buffer.concat([one, kosme]), 1).slice(0, -1),
    notText,
  ]),
]);

const long = Buffer.alloc(256 * 1024, 'a');
table('7.1: a close is answered with its code, and nothing behind it is', [
  ['7.1.1, behind a message', [text(hello), close(1000)], [...echoed(hello), 'close 1000']],
  ['7.1.2, twice', [close(1000), close(1000)], ['close 1000']],
  ['7.1.3, before a ping', Buffer.concat([close(1000), ping()]), ['close 1000']],
  ['7.1.4, before a text', Buffer.concat([close(1000), text(hello)]), ['close 1000']],
  ['7.1.5, between fragments', Buffer.concat([two[0], close(1000), two[1]]), ['close 1000']],
  ['7.1.6, behind 256 KiB and before a ping', [text(long), close(1000), ping()], [...echoed(long), 'close 1000']],
]);

const closing = (payload) => frame(opcodes.close, payload);
table('7.3, 7.5: what a close may carry', [
  ['7.3.1, nothing', close(), ['close without code']],
  ['7.3.2, one byte', closing('a'), refused],
  ['7.3.3, a code', close(1000), ['close 1000']],
  ['7.3.4, a code and a reason', close(1000, hello), ['close 1000']],
  ['7.3.5, the longest reason', close(1000, '*'.repeat(123)), ['close 1000']],
  ['7.3.6, one byte more', close(1000, '*'.repeat(124)), refused],
  ['7.5.1, a reason that is not UTF-8', close(1000, surrogate), notText],
  ['7.5.1, a reason that ends inside a character', close(1000, kosme.subarray(0, 1)), notText],
]);
table(
  '7.7: codes that may travel are answered alike',
  [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999].map((code) => [
    `${code}`,
    close(code, 'why'),
    [`close ${code}`],
  ]),
);
table(
  '7.9, 7.13: codes that may not travel are refused',
  [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535].flatMap((code) => [
    [`${code}`, close(code), refused],
    [`${code} with a reason`, close(code, 'why'), refused],
  ]),
);

const K = 1024;
const M = K * K;
for (const [kind, make, fill] of kinds) {
  const opcode = opcodes[kind];
  const of = (size) => Buffer.alloc(size, fill, 'latin1');
  table(`9.1-9.6: a large ${kind} message is echoed, whole, in fragments and in small pieces`, [
    ...[64 * K, 256 * K, M, 4 * M, 8 * M, 16 * M].map((n) => [`${n} bytes`, make(of(n)), echoed(of(n), kind)]),
    ...[64, 256, K, 4 * K, 16 * K, 64 * K, 256 * K, M, 4 * M].map((n) => [
      `4 MiB in fragments of ${n}`,
      Buffer.concat(fragments(opcode, of(4 * M), n)),
      echoed(of(4 * M), kind),
    ]),
    ...[64, 128, 256, 512, K, 2 * K].map((n) => [
      `1 MiB in pieces of ${n}`,
      chopped(make(of(M)), n),
      echoed(of(M), kind),
    ]),
  ]);
  table(
    `9.7-9.8: a thousand ${kind} messages come back, each in its place`,
    [0, 16, 64, 256, K, 4 * K].map((n) => {
      const all = Array.from({ length: 1000 }, (_, i) => Buffer.alloc(n, `${i} `));
      return [`${n} bytes each`, all.map((one) => make(one)), all.map((one) => said(kind, one))];
    }),
  );
}
table('10: a message in fragments of 1300 bytes is echoed', [
  ['64 KiB', fragments(opcodes.text, Buffer.alloc(64 * K, '*'), 1300), echoed(Buffer.alloc(64 * K, '*'))],
]);

test('beyond the limit a message is refused by its header', () =>
  check('64 MiB and one byte', text('', { announced: 64 * M + 1 }), ['close 1009']));

test('frames that come with the upgrade request are answered, whatever the path', async () => {
  const client = await new RawClient(server.port).open(Buffer.concat([text(hello), close(1001)]), '/any/path?x=1');
  assert.deepEqual(await client.all(), [...echoed(hello), 'close 1001']);
});

test('a client that does not read is not read any more, and then gets everything', async () => {
  const messages = Array.from({ length: 64 }, () => Buffer.alloc(M, 'x'));
  const slow = await new RawClient(server.port).open();
  slow.socket.pause();
  const sending = slow.send(Buffer.concat([...messages.map((one) => text(one)), close(1000)]));
  // Each round lets the server read from both: it would have read it all.
  const other = await new RawClient(server.port).open();
  for (let i = 1; i <= 2000; i++) {
    await other.send(ping());
    while (other.frames.seen.length < i) await Promise.race([new Promise(setImmediate), other.ended]);
  }
  assert.ok(slow.socket.writableLength > 0, 'the kernel has not taken it all');
  await other.send(close(1000));
  await other.all();
  slow.socket.resume();
  await sending;
  assert.deepEqual(await slow.all(), [...messages.map((one) => said('text', one)), 'close 1000']);
});
