// The event stream (SSE) as pages read it: through nginx, by fetch, and on over every loss of the relay.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Stack, until } from './stack.mjs';

let stack;
before(async () => { stack = await Stack.up(); });
after(() => stack?.down());

/** One stream and what came of it: `events` as {id, event, data}, `comments` as the times of their arrival. */
class Stream {
  events = [];
  comments = [];

  async open(query, headers = {}) {
    this.abort = new AbortController();
    this.response = await fetch(`${stack.url}/api/sessions/live${query}`, {
      headers: { Accept: 'text/event-stream', Authorization: `Bearer ${stack.token}`, ...headers },
      signal: this.abort.signal,
    });
    if (this.response.status === 200) this.ended = this.read().catch(() => {}); // cut off, or closed by us
    return this;
  }

  async read() {
    let rest = '';
    for await (const text of this.response.body.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + text).split('\n\n');
      rest = parts.pop();
      for (const part of parts) this.take(part);
    }
  }

  take(part) {
    if (part === ':') return this.comments.push(Date.now());
    const fields = Object.fromEntries(part.split('\n').map((line) => line.split(/: (.*)/s, 2)));
    this.events.push({ ...fields, data: JSON.parse(fields.data) });
  }

  /** Those with messages of the channel. */
  get messages() {
    return this.events.filter(({ event }) => event === undefined);
  }

  close() {
    this.abort.abort();
    return this.ended;
  }
}

const open = (query, headers) => new Stream().open(query, headers);

/** The session's stream, as soon as there is a relay. */
const follow = (session, headers) =>
  until('the relay', async () => {
    const stream = await open(`?sessionId=${session.id}`, headers);
    return stream.response.status === 200 && stream;
  }, 30000);

/** Its supervisor starts it again. */
function signalRelay(signal) {
  for (const pid of stack.pids(/relay\/relay/)) process.kill(pid, signal);
}

async function vote(username) {
  const body = { username, vote: 'up', timestamp: new Date().toISOString() };
  assert.equal((await stack.call('POST', '/api/votes/live', body)).status, 200);
}

async function sessionWithGame() {
  const session = await stack.freshSession();
  await stack.call('POST', `/api/sessions/${session.id}/games`, { game_id: 1 });
  return session;
}

test('a stream carries what a socket carries, as it happens, with the offsets as ids', async () => {
  const session = await sessionWithGame();
  const channel = `session.${session.id}`;
  const socket = await stack.follow(session.id);
  const stream = await follow(session);
  assert.equal(stream.response.status, 200);
  assert.match(stream.response.headers.get('content-type'), /^text\/event-stream/);
  assert.equal(stream.response.headers.get('cache-control'), 'no-store');
  assert.equal(stream.response.headers.get('access-control-allow-origin'), '*');
  await until('the greeting', () => stream.events.length === 1);
  const [{ event, data: { offset } }] = stream.events;
  assert.equal(event, 'subscribed');
  for (let i = 0; i < 20; i += 1) {
    await vote(`both${i}`);
    await until('the event', () => stream.messages.length === i + 1); // none waits for the next in a buffer
  }
  await until('the events of the socket', () => socket.messages.filter((m) => m.channel === channel).length === 20);
  assert.deepEqual(stream.messages.map(({ data }) => data), socket.messages.filter((m) => m.channel === channel));
  assert.deepEqual(stream.messages.map(({ id }) => id), Array.from({ length: 20 }, (_, i) => `${channel}:${offset + i + 1}`));
  await stream.close();
  socket.close();
});

test('a stream that resumes by Last-Event-ID misses and repeats nothing, however often the relay is killed', async () => {
  const session = await sessionWithGame();
  const heard = [];
  let current;
  let following = true;
  let streams = 0;
  const goOn = async () => {
    let last = `session.${session.id}:0`;
    while (following) {
      current = await follow(session, { 'Last-Event-ID': last });
      streams += 1;
      await current.ended;
      const [{ event, data }] = current.events;
      assert.deepEqual([event, data.recovered], ['subscribed', true]);
      heard.push(...current.messages);
      last = current.events.at(-1).id;
    }
  };
  const follower = goOn();
  const votes = 45;
  let kills = 0;
  for (let i = 0; i < votes; i += 1) {
    if (i % 15 === 10) {
      await until('a greeting', () => streams > kills && current.events.length > 0, 30000);
      kills += 1;
      signalRelay('SIGKILL');
    }
    await vote(`voter${i}`);
  }
  const last = `voter${votes - 1}`;
  await until('the last', () => current?.messages.at(-1)?.data.data.vote?.username === last, 60000);
  following = false;
  await current.close();
  await follower;
  assert.equal(streams, kills + 1);
  assert.deepEqual(heard.map(({ data }) => data.offset), heard.map((_, i) => i + 1));
  const voters = heard.filter(({ data }) => data.type === 'vote.received').map(({ data }) => data.data.vote.username);
  assert.deepEqual(voters, Array.from({ length: votes }, (_, i) => `voter${i}`));
});

test('a restart of the relay ends a stream with its close event', async () => {
  const session = await stack.freshSession();
  const stream = await follow(session);
  await until('the greeting', () => stream.events.length === 1);
  signalRelay('SIGTERM');
  await stream.ended;
  const { event, data } = stream.events.at(-1);
  assert.deepEqual({ event, data }, { event: 'close', data: { code: 1012, reason: 'service restart' } });
  await (await follow(session)).close();
});

test('silence is broken by a comment within 15 s', async () => {
  const session = await stack.freshSession();
  const stream = await follow(session);
  await until('the comment', () => stream.comments.length > 0, 20000);
  assert.deepEqual(stream.events.map(({ event }) => event), ['subscribed']);
  await stream.close();
});

test('a page of another origin may ask for the stream with its token', async () => {
  const answer = await fetch(`${stack.url}/api/sessions/live`, {
    method: 'OPTIONS',
    headers: {
      Origin: 'https://overlay.example',
      'Access-Control-Request-Method': 'GET',
      'Access-Control-Request-Headers': 'authorization,last-event-id',
    },
  });
  assert.equal(answer.status, 204);
  assert.equal(answer.headers.get('access-control-allow-origin'), '*');
  assert.match(answer.headers.get('access-control-allow-methods'), /\bGET\b/);
  assert.match(answer.headers.get('access-control-allow-headers'), /\bAuthorization\b.*\bLast-Event-ID\b/);
});

test('a token in the URL is no token, for streams as for sockets', async () => {
  const session = await stack.freshSession();
  const query = `?sessionId=${session.id}&token=${stack.token}&access_token=${stack.token}`;
  const { response } = await open(query, { Authorization: '' });
  assert.deepEqual([response.status, await response.json()], [401, { error: 'Access token required' }]);
  assert.equal(response.headers.get('www-authenticate'), 'Bearer');
  const socket = await stack.connect(query);
  await socket.next('connection_established');
  socket.send({ type: 'subscribe', sessionId: session.id });
  assert.equal((await socket.next('error')).message, 'Not authenticated');
  socket.close();
});
