// Holds the documents true: node tests/openapi/run.mjs EXCHANGES...
// Each file holds a line of JSON for every exchange the tests saw, for every event that was written meanwhile, and for
// every route of the handlers' tables. Ends with "N passed, N failed".
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { check, findOperation, operations } from './document.mjs';
import { catalogueProblems, eventProblems } from './events.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');
let passed = 0;
let failed = 0;

/** A promise holds when there are no offenders. */
function promise(text, offenders) {
  if (offenders.length === 0) {
    passed += 1;
    return;
  }
  failed += 1;
  console.log(`broken: ${text}`);
  for (const offender of offenders.slice(0, 200)) console.log(`  ${offender}`);
  if (offenders.length > 40) console.log(`  and ${offenders.length - 40} more`);
}

function lint(name) {
  const redocly = join(here, 'node_modules/.bin/redocly');
  const run = spawnSync(redocly, ['lint', '--config', join(here, 'redocly.yaml'), '--format', 'json',
    join(root, 'nginx/www', name)], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  const { problems } = JSON.parse(run.stdout.slice(run.stdout.indexOf('{')));
  return problems.map(({ ruleId, message, location }) => `${ruleId}: ${message} (${location[0]?.pointer})`);
}
promise('openapi.yaml passes the linter', lint('openapi.yaml'));
promise('asyncapi.yaml passes the linter', lint('asyncapi.yaml'));

const lines = process.argv.slice(2).filter(existsSync)
  .flatMap((file) => readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line)));
const routes = lines.filter((line) => line.route);
const exchanges = lines.filter((line) => line.method);
const events = lines.filter((line) => line.event);

const inDocument = new Map(operations.map((operation) => [operation.name, operation]));
const inTables = new Map(routes.map((route) => [route.route, route.access]));
promise('the tests saw exchanges and routes', exchanges.length > 0 && routes.length > 0 ? [] : ['none were kept']);
promise('every route is in the document', [...inTables.keys()].filter((name) => !inDocument.has(name)));
promise('every operation of the document is a route', [...inDocument.keys()].filter((name) => !inTables.has(name)));
promise('the document asks for a token where the route does', [...inDocument].filter(([name, { object }]) =>
  inTables.has(name) && (inTables.get(name) === 'open') !== ((object.security ?? []).length === 0)).map(([name]) => name));

const problems = new Map();
const seen = new Set();
for (const exchange of exchanges) {
  for (const problem of check(exchange)) {
    const text = `${exchange.method} ${exchange.path} -> ${exchange.status}: ${problem}`.slice(0, 300);
    problems.set(text, (problems.get(text) ?? 0) + 1);
  }
  const { operation } = findOperation(exchange.method, exchange.path);
  if (operation && exchange.method !== 'HEAD') seen.add(`${operation.name} -> ${exchange.status}`);
}
promise(`every one of ${exchanges.length} responses is as documented`, [...problems].map(([text, count]) => `${count}x ${text}`));
promise('every documented status of every operation was seen', operations.flatMap(({ name, object }) =>
  Object.keys(object.responses).map((status) => `${name} -> ${status}`)).filter((one) => !seen.has(one)));

// All but those of the room monitor.
const MADE_BY_TESTS = ['game.added', 'session.started', 'session.ended', 'player-count.updated', 'vote.received',
  'game.status-changed', 'game.removed', 'voting.ended', 'broadcast', 'connection', 'disconnection', 'subscribe', 'unsubscribe',
  'presence_join', 'presence_leave', 'client_event', 'webhook.disabled'];
const listing = exchanges.find(({ path, status }) => path === '/api/webhooks/events' && status === 200);
const catalogue = listing ? JSON.parse(listing.body) : [];
promise('the document has the events of the catalogue', listing ? catalogueProblems(catalogue) : ['the tests did not ask for it']);
promise(`the examples and ${events.length} events that were written fit the schemas`, eventProblems(catalogue, events));
promise('every event was seen', MADE_BY_TESTS.filter((name) => !events.some(({ event }) => event === name)));

console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
