// A deploy in the middle of everything: nobody is refused, and nobody misses anything.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { Stack, until } from './stack.mjs';

const followers = 100;
const channel = 'deploys';

let stack;
before(async () => { stack = await Stack.up(); });
after(() => stack?.down());

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const live = () => `ws://127.0.0.1:${stack.port}/api/sessions/live`;

/** Follows the channel, comes back by its offset whenever it was closed; keeps the offsets and why it was closed. */
class Follower {
  offsets = [];
  codes = [];
  refusals = [];
  following = true;

  connect() {
    this.socket = new WebSocket(live(), { headers: { Authorization: `Bearer ${stack.token}` } });
    this.socket.on('open', () => this.socket.send(JSON.stringify({ type: 'subscribe', channel, offset: this.offsets.at(-1) ?? 0 })));
    this.socket.on('error', (error) => this.refusals.push(error.message));
    this.socket.on('message', (data) => {
      const message = JSON.parse(data);
      if (message.type === 'subscribed') {
        this.subscribed = true;
        if (message.recovered !== true) this.refusals.push(message);
      } else if (message.channel === channel) {
        this.offsets.push(message.offset);
      }
    });
    this.socket.on('close', async (code, reason) => {
      if (!this.following) return;
      this.codes.push(`${code} ${reason}`);
      await pause(Math.random() * 100);
      this.connect();
    });
    return this;
  }
  end() {
    this.following = false;
    this.socket.terminate();
  }
}

/** Asks again and again until told to stop, 100 times a second; resolves with how many there were and what was refused. */
async function handshakes(state) {
  const refused = [];
  let count = 0;
  const pending = new Set();
  while (state.going) {
    const socket = new WebSocket(live());
    count += 1;
    const answered = new Promise((resolve) => {
      socket.on('open', () => { socket.close(1000); resolve(); });
      socket.on('error', (error) => { refused.push(error.message); resolve(); });
    });
    pending.add(answered);
    answered.then(() => pending.delete(answered));
    await pause(10);
  }
  await Promise.all(pending);
  return { count, refused };
}

/** 50 events a second; one that fails while handlers are replaced is sent again, and may then be there twice. */
async function writes(state) {
  let count = 0;
  while (state.going) {
    const answer = await stack
      .call('POST', '/api/broadcast', { channel, event: 'tick', data: { count } })
      .catch((error) => ({ status: error.message }));
    if (answer.status === 202) count += 1;
    await pause(20);
  }
  return count;
}

async function head() {
  const client = await stack.connect();
  client.send({ type: 'auth', token: stack.token });
  client.send({ type: 'subscribe', channel });
  const { offset } = await client.next('subscribed');
  client.close();
  return offset;
}

async function deployUnderLoad() {
  const state = { going: true };
  const all = Array.from({ length: followers }, () => new Follower().connect());
  await until('all to follow', () => all.every((one) => one.subscribed));
  const before = await head();
  const writing = writes(state);
  const asking = handshakes(state);
  await until('some events', () => all.every((one) => one.offsets.length > 20), 30000);
  await stack.deploy();
  await until('all to have been sent away', () => all.every((one) => one.codes.length > 0), 30000);
  const turned = await head();
  await until('events after it', () => all.every((one) => one.offsets.at(-1) > turned + 20), 30000);
  state.going = false;
  const { count, refused } = await asking;
  const written = await writing;
  const end = await head();
  await until('every event', () => all.every((one) => one.offsets.at(-1) >= end), 30000);
  for (const one of all) one.end();

  assert.deepEqual(refused, [], `of ${count} handshakes`);
  assert.ok(count > 100 && written > 50, `${count} handshakes, ${written} events`);
  const everything = Array.from({ length: end }, (_, i) => i + 1);
  assert.ok(end >= before + written);
  for (const one of all) {
    assert.deepEqual(one.refusals, []);
    assert.deepEqual(one.offsets, everything);
    assert.deepEqual(new Set(one.codes), new Set(['1012 service restart']));
  }
}

test('a deploy with one relay refuses no handshake, and every follower has every event once', async () => {
  await deployUnderLoad();
});

test('so does one with two relays', async () => {
  await stack.deploy('--relays', '2');
  await deployUnderLoad();
});
