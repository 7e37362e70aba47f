// A peer for tests/bench/webhooks-run: webhooks sent from within the process that causes them, with fetch, and kept nowhere.
//   node webhook_fetch.mjs URL REQUESTS CONCURRENCY
import { createHmac } from 'node:crypto';

const [url, requests, concurrency] = process.argv.slice(2);
const secret = 'a secret of the benchmark';
const body = `{"event":"bench","data":"${'x'.repeat(1024 - 27)}"}`;
let next = 0;

async function send(id) {
  const timestamp = String(Math.floor(Date.now() / 1000));
  const standard = createHmac('sha256', secret).update(`${id}.${timestamp}.${body}`).digest('base64');
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'X-Webhook-Event': 'bench',
      'X-Webhook-Signature': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
      'X-Webhook-Delivery': String(id),
      'webhook-id': String(id),
      'webhook-timestamp': timestamp,
      'webhook-signature': `v1,${standard}`,
    },
    body,
    signal: AbortSignal.timeout(5000),
  });
  await response.arrayBuffer();
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
}

const begin = performance.now();
const cpu = process.cpuUsage();
await Promise.all(Array.from({ length: Number(concurrency) }, async () => {
  while (next < Number(requests)) await send(++next);
}));
const seconds = (performance.now() - begin) / 1000;
const { user, system } = process.cpuUsage(cpu);
const perCpuSecond = Math.round((Number(requests) * 1e6) / (user + system));
console.log(`{"per_second":${Math.round(Number(requests) / seconds)},"per_cpu_second":${perCpuSecond}}`);
