// WebSocket frames as bytes, right or wrong on purpose, and a raw client of `relay --echo`.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const root = new URL('../..', import.meta.url).pathname;
const mask = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);
const limit = 20000; // ms; sanitizers are slow

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

/** A client's frame. `announced`: bytes of payload that the header speaks of, when they are not all there. */
export function frame(opcode, payload = '', { fin = true, rsv = 0, announced } = {}) {
  const bytes = Buffer.from(payload);
  const size = announced ?? bytes.length;
  const header = Buffer.alloc(size < 126 ? 2 : size < 65536 ? 4 : 10);
  header[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  header[1] = 0x80 | (size < 126 ? size : size < 65536 ? 126 : 127);
  if (header.length === 4) header.writeUInt16BE(size, 2);
  if (header.length === 10) header.writeBigUInt64BE(BigInt(size), 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] ^= mask[i & 3];
  return Buffer.concat([header, mask, bytes]);
}

export const text = (payload, options) => frame(opcodes.text, payload, options);
export const binary = (payload, options) => frame(opcodes.binary, payload, options);
export const ping = (payload, options) => frame(opcodes.ping, payload, options);
export const pong = (payload, options) => frame(opcodes.pong, payload, options);
export const more = (payload, options) => frame(opcodes.continuation, payload, options);

export function close(code, reason = '') {
  if (code === undefined) return frame(opcodes.close);
  return frame(opcodes.close, Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]));
}

/** One message in fragments of at most `size` bytes, each a buffer of its own. */
export function fragments(opcode, payload, size) {
  const bytes = Buffer.from(payload);
  const all = [];
  for (let at = 0; at === 0 || at < bytes.length; at += size) {
    const fin = at + size >= bytes.length;
    all.push(frame(at === 0 ? opcode : opcodes.continuation, bytes.subarray(at, at + size), { fin }));
  }
  return all;
}

/** The same bytes in pieces of at most `size`. */
export function chopped(buffers, size) {
  const bytes = Buffer.concat([buffers].flat());
  const all = [];
  for (let at = 0; at < bytes.length; at += size) all.push(bytes.subarray(at, at + size));
  return all;
}

/** What a frame says, short enough to be read in a failed comparison. */
export function said(kind, payload = '') {
  const bytes = Buffer.from(payload);
  if (bytes.length <= 200) return `${kind} ${JSON.stringify(bytes.toString('latin1'))}`;
  return `${kind} of ${bytes.length}: ${createHash('sha1').update(bytes).digest('hex')}`;
}

/** Reads a server's frames strictly, and names them. */
class ServerFrames {
  seen = [];
  pieces = [];
  size = 0;
  wanted = 2;

  add(piece) {
    this.pieces.push(piece);
    this.size += piece.length;
    while (this.size >= this.wanted && this.next());
  }

  next() {
    if (this.pieces.length > 1) this.pieces = [Buffer.concat(this.pieces)];
    const [bytes] = this.pieces;
    const short = bytes[1] & 0x7f;
    const header = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (this.size < header) return (this.wanted = header) < 0;
    const size = header === 2 ? short : header === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    this.wanted = header + size;
    if (this.size < this.wanted) return false;
    const [kind] = Object.entries(opcodes).find(([, opcode]) => (bytes[0] & 0x7f) === opcode) ?? [`opcode ${bytes[0]}`];
    if ((bytes[0] & 0x80) === 0 || (bytes[1] & 0x80) !== 0) throw new Error(`a fragmented or masked frame: ${kind}`);
    if (header > 2 && size < (header === 4 ? 126 : 65536)) throw new Error('a length not in its shortest form');
    const payload = bytes.subarray(header, this.wanted);
    this.seen.push(
      kind === 'close' ? `close ${size < 2 ? 'without code' : payload.readUInt16BE(0)}` : said(kind, payload),
    );
    this.pieces = [bytes.subarray(this.wanted)];
    this.size -= this.wanted;
    this.wanted = 2;
    return this.size >= 2;
  }
}

/** One connection, until the server ends it. */
export class RawClient {
  constructor(port) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.frames = new ServerFrames();
    this.response = undefined;
    this.ended = new Promise((resolve, reject) => {
      const late = setTimeout(() => this.socket.destroy(new Error('the server did not end the connection')), limit);
      this.socket.on('data', (piece) => this.received(piece));
      this.socket.on('error', (error) => reject(new Error(`${error.message}; seen: ${this.frames.seen.join(', ')}`)));
      this.socket.on('end', resolve).on('close', () => clearTimeout(late));
    });
    this.ended.catch(() => {}); // it is awaited later
  }

  received(piece) {
    try {
      if (this.response !== undefined) return this.frames.add(piece);
      this.head = Buffer.concat([this.head ?? Buffer.alloc(0), piece]);
      const end = this.head.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.response = this.head.toString('latin1', 0, end);
      this.socket.emit('response');
      this.frames.add(this.head.subarray(end + 4));
    } catch (error) {
      this.socket.destroy(error);
    }
  }

  /** The upgrade request; `surplus` goes out in the same write. */
  async open(surplus = Buffer.alloc(0), path = '/') {
    const request =
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
    this.socket.write(Buffer.concat([Buffer.from(request), surplus]));
    await Promise.race([once(this.socket, 'response'), this.ended]);
    if (!/^HTTP\/1\.1 101 /.test(this.response ?? '')) throw new Error(`not upgraded: ${this.response}`);
    if (!/^sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=$/im.test(this.response)) throw new Error('wrong key');
    return this;
  }

  /** Each buffer is a write of its own. */
  async send(buffers) {
    for (const buffer of [buffers].flat()) {
      if (!this.socket.writable) return;
      if (!this.socket.write(buffer)) await Promise.race([once(this.socket, 'drain'), this.ended]);
      else await new Promise(setImmediate);
    }
  }

  /** Everything the server said before it ended the connection. */
  async all() {
    try {
      await this.ended;
      return this.frames.seen;
    } finally {
      this.socket.destroy();
    }
  }
}

/** The program under test, on a port of its own. */
export class EchoServer {
  async start() {
    const program = join(root, '.build', process.env.PRESET ?? 'release', 'relay/relay');
    this.process = spawn(program, ['--echo', '0'], { stdio: ['ignore', 'inherit', 'pipe'] });
    for await (const line of createInterface({ input: this.process.stderr })) {
      this.port = Number(line.match(/echo on 127\.0\.0\.1:(\d+)$/)?.[1]);
      if (this.port) return this;
    }
    throw new Error('relay --echo did not start');
  }

  /** Its exit code; null when it had to be killed. */
  async stop() {
    const late = setTimeout(() => this.process.kill('SIGKILL'), 5000);
    this.process.kill('SIGTERM');
    const [code] = await once(this.process, 'exit');
    clearTimeout(late);
    return code;
  }
}
