// What the relay says of itself on its own port, over what can happen to it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Stack, until } from './stack.mjs';

let stack;
let ops;
before(async () => {
  stack = await Stack.up();
  ops = `http://${stack.setting('RELAY_OPS_LISTEN')}`;
});
after(() => stack?.down());

async function ask(path) {
  const response = await fetch(ops + path);
  return { status: response.status, text: await response.text() };
}

/** The samples by name and labels. */
async function metrics() {
  const samples = {};
  for (const line of (await ask('/metrics')).text.split('\n')) {
    const [, name, value] = line.match(/^([a-z_]+(?:\{.*\})?) (\S+)$/) ?? [];
    if (name) samples[name.replace('gamepicker_relay_', '')] = Number(value);
  }
  return samples;
}

const ready = () => until('the relay to be ready', async () => (await ask('/readyz')).status === 200, 30000);

test('it lives and is ready, on loopback, and nginx passes none of it on', async () => {
  assert.match(stack.setting('RELAY_OPS_LISTEN'), /^127\.0\.0\.1:\d+$/);
  assert.ok(stack.output.includes(`${ops}/metrics`));
  assert.deepEqual(await ask('/livez'), { status: 200, text: 'ok\n' });
  await ready();
  for (const path of ['/livez', '/readyz', '/metrics']) {
    assert.equal((await fetch(stack.url + path)).status, 404, path);
  }
});

test('the table of the README names every metric, and no other', async () => {
  const families = [...(await ask('/metrics')).text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8').split('## Watching it')[1].split('\n## ')[0];
  const named = [...readme.matchAll(/^\| `([a-z_]+)[`{]/gm)].map(([, name]) => `gamepicker_relay_${name}`);
  assert.deepEqual(named.sort(), families.sort());
});

test('counters move by exactly what a client did', async () => {
  const session = await stack.freshSession();
  await stack.call('POST', `/api/sessions/${session.id}/games`, { game_id: 1 });
  const old = await metrics();
  const client = await stack.follow(session.id);
  const votes = 7;
  for (let i = 0; i < votes; i += 1) {
    const vote = { username: `counted${i}`, vote: 'up', timestamp: new Date().toISOString() };
    assert.equal((await stack.call('POST', '/api/votes/live', vote)).status, 200);
    await client.next('vote.received');
  }
  const open = await metrics();
  client.socket.close(1000);
  await client.closed;
  const wanted = {
    connections: 0,
    subscriptions: 0,
    'handshakes_total{status="101"}': 1,
    'closes_total{code="1000"}': 1,
    'closes_total{code="1006"}': 0,
    slow_closes_total: 0,
    sent_frames_total: 3 + votes + 1, // the greeting, two replies, and the answer to the close
    event_lag_seconds_count: votes,
    commit_to_socket_seconds_count: votes,
    'recoveries_total{result="history"}': 0,
  };
  assert.equal(open.connections - old.connections, 1);
  assert.equal(open.subscriptions - old.subscriptions, 2); // and the channel of all clients
  await until('the end to be counted', async () => (await metrics()).connections === old.connections);
  const now = await metrics();
  for (const [name, by] of Object.entries(wanted)) assert.equal(now[name] - old[name], by, name);
  assert.ok(now.sent_bytes_total > old.sent_bytes_total && now.sends_total > old.sends_total);
  assert.ok(now.nudges_total >= old.nudges_total + 1);
  // Without a floor under the clocks' difference, the database's and ours, this would be far off.
  assert.ok(now.commit_to_socket_seconds_sum - old.commit_to_socket_seconds_sum < votes);
});

test('without a database it is not ready, says so, and lives; with it, it is ready again by itself', async () => {
  const old = await metrics();
  await stack.control('stop', 'database');
  const said = await until('readiness to end', async () => {
    assert.equal((await ask('/livez')).status, 200);
    const answer = await ask('/readyz');
    return answer.status === 503 && answer.text;
  });
  assert.match(said, /^database: the last read of the event log was \d+\.\d s ago\n$/);
  const now = await metrics();
  assert.ok(now['database_errors_total{part="event_reader"}'] > old['database_errors_total{part="event_reader"}']);
  await stack.control('start', 'database');
  await ready();
  assert.equal((await ask('/livez')).status, 200);
  await stack.ready();
});

test('it is not ready from the moment it is told to end, and lives until it has', async () => {
  const session = await stack.freshSession();
  const client = await stack.follow(session.id);
  client.socket.pause(); // its close frame stays unanswered, so that the relay waits for it
  const [relay] = stack.pids(/relay\/relay/);
  process.kill(relay, 'SIGTERM');
  const said = await until('readiness to end', async () => {
    const answer = await ask('/readyz');
    return answer.status === 503 && answer.text;
  }, 2500);
  assert.equal(said, 'draining\n');
  assert.deepEqual(await ask('/livez'), { status: 200, text: 'ok\n' });
  client.socket.resume();
  assert.equal(await client.closed, 1012);
  await until('another relay', () => !stack.pids(/relay\/relay/).includes(relay), 20000);
  await ready();
});

test('a port that was chosen is kept', () => {
  const listen = stack.setting('RELAY_OPS_LISTEN');
  stack.stop();
  stack.start();
  assert.ok(readFileSync(`${stack.dir}/gamepicker.conf`, 'utf8').includes(`RELAY_OPS_LISTEN=${listen}\n`));
  assert.ok(stack.output.includes(`http://${listen}/metrics`));
});
