// A peer for tests/bench/webhooks-run: a worker on the same tables, as one writes it with mysql2 and undici. Claims with
// SKIP LOCKED, sends a batch at once, records it in one transaction.
//   node webhook_worker.mjs    with DB_SOCKET, DB_NAME, DB_USER, DB_PASSWORD in the environment
import { createHmac } from 'node:crypto';
import mysql from 'mysql2/promise';
import { Agent, request } from 'undici';

const secret = 'a secret of the test'; // the stored ones are sealed
const batch = 64;
const { DB_SOCKET, DB_NAME, DB_USER, DB_PASSWORD } = process.env;
const pool = mysql.createPool({
  socketPath: DB_SOCKET, database: DB_NAME, user: DB_USER, password: DB_PASSWORD, connectionLimit: 4,
});
const dispatcher = new Agent({ connections: batch, keepAliveTimeout: 5000 });

async function transaction(work) {
  const connection = await pool.getConnection();
  try {
    await connection.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
    await connection.beginTransaction();
    const result = await work(connection);
    await connection.commit();
    return result;
  } catch (error) {
    await connection.rollback();
    throw error;
  } finally {
    connection.release();
  }
}

const claim = () => transaction(async (connection) => {
  const [rows] = await connection.query(
    'SELECT delivery_id FROM webhook_queue FORCE INDEX (webhook_queue_all_due) WHERE due_at <= UTC_TIMESTAMP(3) '
      + 'ORDER BY due_at, delivery_id LIMIT ? FOR UPDATE SKIP LOCKED', [batch]);
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.delivery_id);
  await connection.query(
    'UPDATE webhook_queue SET due_at = UTC_TIMESTAMP(3) + INTERVAL 20 SECOND, lease_token = 1 WHERE delivery_id IN (?)',
    [ids]);
  const [deliveries] = await connection.query(
    'SELECT d.id, d.webhook_id, w.url, e.type, e.body FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id '
      + 'JOIN events e ON e.id = d.event_id WHERE d.id IN (?)', [ids]);
  return deliveries;
});

async function send(delivery) {
  const id = String(delivery.id);
  const timestamp = String(Math.floor(Date.now() / 1000));
  const standard = createHmac('sha256', secret).update(`${id}.${timestamp}.${delivery.body}`).digest('base64');
  const begin = performance.now();
  const { statusCode, body } = await request(delivery.url, {
    dispatcher,
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'X-Webhook-Event': delivery.type,
      'X-Webhook-Signature': `sha256=${createHmac('sha256', secret).update(delivery.body).digest('hex')}`,
      'X-Webhook-Delivery': id,
      'X-Webhook-Attempt': '1',
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': `v1,${standard}`,
    },
    body: delivery.body,
    headersTimeout: 5000,
    bodyTimeout: 5000,
  });
  const text = await body.text();
  if (statusCode >= 300) throw new Error(`HTTP ${statusCode}`);
  return [delivery.webhook_id, delivery.id, 1, statusCode, Math.round(performance.now() - begin), text.slice(0, 1024)];
}

const finish = (logs) => transaction(async (connection) => {
  const ids = logs.map((log) => log[1]);
  await connection.query(
    'INSERT INTO webhook_logs (webhook_id, delivery_id, attempt, response_status, duration_ms, response_body) VALUES ?',
    [logs]);
  await connection.query('DELETE FROM webhook_queue WHERE delivery_id IN (?)', [ids]);
  await connection.query(
    "UPDATE webhook_deliveries SET status = 'succeeded', attempts = 1, finished_at = UTC_TIMESTAMP(3) WHERE id IN (?)",
    [ids]);
});

async function work() {
  while (true) {
    const deliveries = await claim();
    if (deliveries.length > 0) await finish(await Promise.all(deliveries.map(send)));
    else await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

for (let i = 0; i < 4; i++) work();
