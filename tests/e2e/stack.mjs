// Brings a whole system up with deploy/up in a temporary folder, and gives tests real clients for it.
import { execFile, execFileSync } from 'node:child_process';
import { appendFileSync, chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { once } from 'node:events';
import { promisify } from 'node:util';
import express from 'express';
import WebSocket from 'ws';

const root = new URL('../..', import.meta.url).pathname;

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Asks again until `probe` gives something truthy; fails with `what` after `limit` ms. */
export async function until(what, probe, limit = 30000) {
  const end = Date.now() + limit;
  let last;
  while (Date.now() < end) {
    try {
      const value = await probe();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`timed out waiting for ${what}${last ? `: ${last.message}` : ''}`);
}

export class Stack {
  /** `words`: more of deploy/up's options. */
  static async up(...words) {
    const stack = new Stack();
    stack.dir = mkdtempSync('/tmp/gpe2e-');
    chmodSync(stack.dir, 0o755); // as root, the programs run as another user
    stack.port = await freePort();
    stack.url = `http://127.0.0.1:${stack.port}`;
    stack.start(...words);
    stack.config = readFileSync(join(stack.dir, 'gamepicker.conf'), 'utf8');
    const login = await stack.call('POST', '/api/auth/login', { key: stack.setting('ADMIN_KEY') });
    stack.token = login.body.token;
    return stack;
  }

  start(...words) {
    this.output = execFileSync(join(root, 'deploy/up'), this.options(words), {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 600000,
    });
  }

  /** As after a change of the configuration, while everything goes on. */
  async deploy(...words) {
    appendFileSync(join(this.dir, 'gamepicker.conf'), '# deployed again\n');
    this.output = (await promisify(execFile)(join(root, 'deploy/up'), this.options(words), { timeout: 600000 })).stdout;
  }

  options(words) {
    const preset = process.env.PRESET ?? 'release';
    return ['--port', String(this.port), '--dir', this.dir, '--no-install', '--preset', preset, ...words];
  }

  /** Everything, database and all; the data stays. */
  stop() {
    execFileSync(join(root, 'deploy/down'), ['--dir', this.dir], { stdio: 'inherit', timeout: 60000 });
  }

  down() {
    this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Changes settings in the instance's configuration; start() applies them. */
  configure(settings) {
    for (const [key, value] of Object.entries(settings)) {
      this.config = this.config.replace(new RegExp(`^${key}=.*\\n`, 'm'), '') + `${key}=${value}\n`;
    }
    writeFileSync(join(this.dir, 'gamepicker.conf'), this.config);
  }

  setting(name) {
    return this.config.match(new RegExp(`^${name}=(.*)$`, 'm'))[1];
  }

  /** One request; as the admin once logged in. */
  async call(method, path, body) {
    const headers = { 'Content-Type': 'application/json' };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    const response = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : undefined };
  }

  /** supervisorctl of this instance. */
  async control(...words) {
    const options = ['-c', join(this.dir, 'supervisord.conf'), ...words];
    return (await promisify(execFile)('supervisorctl', options, { timeout: 60000 })).stdout;
  }

  /** The addresses of the running relays' health and metrics, relay 1 first. */
  relays() {
    return [...this.output.match(/^Health and metrics.*$/m)[0].matchAll(/http:\/\/[\d.:]+/g)].map(([url]) => url);
  }

  /** Until everything answers (again). */
  ready() {
    return until('readiness', async () => (await this.call('GET', '/health/ready')).status === 200, 30000);
  }

  /** A WebSocket client that keeps what it received. */
  async connect(query = '') {
    const client = new Client(`ws://127.0.0.1:${this.port}/api/sessions/live${query}`);
    await client.opened;
    return client;
  }

  /** A token of another person. */
  async tokenOf(name, role = 'viewer') {
    return (await this.call('POST', '/api/auth/tokens', { role, name, expiresIn: '1h' })).body.token;
  }

  /** A client that is authenticated and subscribed to the session. */
  async follow(sessionId) {
    const client = await this.connect();
    client.send({ type: 'auth', token: this.token });
    await client.next('auth_success');
    client.send({ type: 'subscribe', sessionId });
    await client.next('subscribed');
    return client;
  }

  /** Closes whatever session is active, so that tests do not depend on each other. */
  async freshSession() {
    const { body: active } = await this.call('GET', '/api/sessions/active');
    if (active) await this.call('POST', `/api/sessions/${active.id}/close`);
    return (await this.call('POST', '/api/sessions', {})).body;
  }

  /** The pids of processes of this instance whose command line matches. */
  pids(pattern) {
    return execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes(`${this.dir}/`) && pattern.test(line))
      .map((line) => Number.parseInt(line, 10));
  }
}

class Client {
  constructor(url) {
    this.messages = [];
    this.socket = new WebSocket(url);
    this.opened = once(this.socket, 'open');
    this.closed = new Promise((resolve) => this.socket.on('close', (code) => resolve(code)));
    this.socket.on('error', () => {});
    this.socket.on('message', (data) => this.messages.push(JSON.parse(data)));
  }
  send(message) {
    this.socket.send(JSON.stringify(message));
  }
  /** The first message of this type that was not taken yet; of those that are `meant`. */
  async next(type, meant = () => true) {
    const index = await until(`a ${type} message`, () => this.messages.findIndex((m) => m.type === type && meant(m)) + 1);
    return this.messages.splice(index - 1, 1)[0];
  }
  close() {
    this.socket.close();
  }
}

/** A webhook receiver that keeps the raw bytes; `status` decides what it answers. */
export async function receiver() {
  const app = express();
  const received = [];
  const state = { received, status: 200 };
  app.post('/hook', express.raw({ type: '*/*', limit: '1mb' }), (request, response) => {
    received.push({ headers: request.headers, body: request.body });
    response.status(state.status).send('thanks');
  });
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.unref(); // a test that fails before it closes this ends all the same
  state.url = `http://127.0.0.1:${server.address().port}/hook`;
  state.close = () => {
    server.closeAllConnections();
    server.close();
  };
  return state;
}
