// A peer for tests/bench/run: three of our endpoints on the same database, as one writes them with Node: express, a
// mysql2 pool with prepared statements, jsonwebtoken, and a process for each core.
//   node server.mjs PORT|SOCKET    with DB_SOCKET, DB_NAME, DB_USER, DB_PASSWORD, JWT_SECRET in the environment
// Checks, writes and answers are ours. The plain statements are what a client can do without stored procedures. What it
// leaves out (CORS headers, request ids, the relay's nudge) is to its advantage.
import cluster from 'node:cluster';
import { chmodSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import express from 'express';
import jwt from 'jsonwebtoken';
import mysql from 'mysql2/promise';

const INT32_MAX = 2147483647;
const { DB_SOCKET, DB_NAME, DB_USER, DB_PASSWORD, JWT_SECRET } = process.env;

class HttpError extends Error {
  constructor(status, message, extra = {}) {
    super(message);
    this.status = status;
    this.extra = extra;
  }
}

let pool;

function connect() {
  pool = mysql.createPool({
    socketPath: DB_SOCKET,
    database: DB_NAME,
    user: DB_USER,
    password: DB_PASSWORD,
    timezone: 'Z', // a DATETIME becomes a Date, and that the ISO text of the wire
  });
  pool.on('connection', (connection) => connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED'));
}

/** Runs `work` in one transaction; the whole of it again, up to five times, after a deadlock or a lock's timeout. */
async function transaction(work) {
  for (let attempt = 1; ; attempt++) {
    const connection = await pool.getConnection();
    try {
      await connection.beginTransaction();
      const result = await work(connection);
      await connection.commit();
      return result;
    } catch (error) {
      await connection.rollback();
      if (![1020, 1205, 1213].includes(error.errno) || attempt === 5) throw error;
    } finally {
      connection.release();
    }
    await wait(1 + Math.random() * 5 * attempt);
  }
}

// The games.

const GAMES =
  'SELECT g.id, g.pack_name, g.title, g.min_players, g.max_players, g.length_minutes, g.has_audience, ' +
  'g.family_friendly, g.game_type, g.secondary_type, g.ticker, g.play_count, ' +
  'g.upvotes - g.downvotes AS popularity_score, g.upvotes, g.downvotes, g.enabled, g.favor_bias, g.created_at ' +
  'FROM games g ';
const LENGTHS = new Map([['short', [0, 15]], ['medium', [16, 25]], ['long', [26, INT32_MAX]]]);

async function getGame(request, response) {
  const { id } = request.params;
  const [[game]] = await pool.execute(`${GAMES}WHERE g.id = ?`, [/^[1-9]\d*$/.test(id) ? id : 0]);
  if (!game) throw new HttpError(404, 'Game not found');
  response.json(game);
}

/** The filters as a WHERE clause and its values; of a parameter given twice the last one counts. */
function readFilter(query) {
  const conditions = [];
  const values = [];
  const filter = (name, condition, read) => {
    if (query[name] === undefined) return;
    conditions.push(condition);
    values.push(...read([query[name]].flat().at(-1), name));
  };
  const flag = (text, name) => {
    if (text !== 'true' && text !== 'false') throw new HttpError(400, `${name} must be true or false`);
    return [text === 'true' ? 1 : 0];
  };
  filter('enabled', 'g.enabled = ?', flag);
  filter('familyFriendly', 'g.family_friendly = ?', flag);
  filter('playerCount', '? BETWEEN g.min_players AND g.max_players', (text) => {
    if (!/^[1-9]\d*$/.test(text) || Number(text) > INT32_MAX) {
      throw new HttpError(400, `playerCount must be a whole number from 1 to ${INT32_MAX}`);
    }
    return [Number(text)];
  });
  filter('drawing', "(COALESCE(g.game_type, '') = 'Drawing') = ?", (text) => {
    if (text !== 'only' && text !== 'exclude') throw new HttpError(400, 'drawing must be only or exclude');
    return [text === 'only' ? 1 : 0];
  });
  filter('length', 'COALESCE(g.length_minutes, 0) BETWEEN ? AND ?', (text) => {
    if (!LENGTHS.has(text)) throw new HttpError(400, 'length must be short, medium or long');
    return LENGTHS.get(text);
  });
  filter('pack', 'g.pack_name = ?', (text) => [text]);
  return { where: conditions.length ? `WHERE ${conditions.join(' AND ')} ` : '', values };
}

async function listGames(request, response) {
  const { where, values } = readFilter(request.query);
  const [games] = await pool.execute(`${GAMES}${where}ORDER BY g.pack_name, g.title`, values);
  response.json(games);
}

// A vote.

function checkBot(request, response, next) {
  const [, token] = /^Bearer (.+)$/is.exec(request.get('Authorization') ?? '') ?? [];
  if (!token) {
    response.set('WWW-Authenticate', 'Bearer');
    throw new HttpError(401, 'Access token required');
  }
  let claims;
  try {
    claims = jwt.verify(token, JWT_SECRET, { algorithms: ['HS256'] });
  } catch {
    throw new HttpError(403, 'Invalid or expired token');
  }
  if (!Number.isInteger(claims.exp) || !['viewer', 'bot', 'admin'].includes(claims.role)) {
    throw new HttpError(403, 'Invalid or expired token');
  }
  if (claims.role === 'viewer') throw new HttpError(403, 'Insufficient permissions');
  next();
}

function readText(body, name, maxCharacters) {
  const value = body[name] ?? null;
  if (value === null) return null;
  if (typeof value !== 'string') throw new HttpError(400, `${name} must be a string`);
  if ([...value].length > maxCharacters) {
    throw new HttpError(400, `${name} must be at most ${maxCharacters} characters`);
  }
  if (value.includes('\0')) throw new HttpError(400, `${name} must not contain U+0000`);
  return value;
}

const ISO_TIME =
  /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:[Zz]|([+-])(\d\d)(?::?(\d\d))?)?$/;

/** ISO 8601 with any offset, UTC without one; null for anything else and for what a DATETIME does not hold. */
function parseTime(text) {
  const match = ISO_TIME.exec(text);
  if (!match) return null;
  const [, year, month, day, hour, minute, second, , , offsetHour, offsetMinute] = match.map((part) =>
    Number(part ?? 0));
  if (hour > 23 || minute > 59 || second > 59 || offsetHour > 23 || offsetMinute > 59) return null;
  const date = new Date(Date.UTC(year, month - 1, day));
  if (date.getUTCFullYear() !== year || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return null;
  const millis = Number((match[7] ?? '').padEnd(3, '0').slice(0, 3));
  const offset = (match[8] === '-' ? -1 : 1) * (offsetHour * 60 + offsetMinute);
  const time = new Date(date.getTime() + ((hour * 60 + minute - offset) * 60 + second) * 1000 + millis);
  return time.getUTCFullYear() >= 1000 && time.getUTCFullYear() <= 9999 ? time : null;
}

function readVote(body) {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new HttpError(400, 'Request body must be a JSON object');
  }
  const username = readText(body, 'username', 100);
  const type = readText(body, 'vote', 100);
  const timestamp = readText(body, 'timestamp', 100);
  if (!username || !type || !timestamp) throw new HttpError(400, 'Missing required fields: username, vote, timestamp');
  if (type !== 'up' && type !== 'down') throw new HttpError(400, 'vote must be either "up" or "down"');
  const time = parseTime(timestamp);
  if (!time) throw new HttpError(400, 'Invalid timestamp format. Use ISO 8601 format (e.g., 2025-11-01T20:30:00Z)');
  return { username, type, timestamp, time, ticker: readText(body, 'ticker', 16) };
}

const FIND_BY_TICKER =
  'SELECT (SELECT COUNT(*) FROM session_games WHERE session_id = ?) AS games_played, NULL AS session_game_id, ' +
  'g.id, g.title, g.pack_name FROM games g WHERE g.ticker = ?';
const FIND_PLAYED =
  'SELECT (SELECT COUNT(*) FROM session_games WHERE session_id = ?) AS games_played, sg.id AS session_game_id, ' +
  'g.id, g.title, g.pack_name FROM session_games sg JOIN games g ON g.id = sg.game_id ' +
  'WHERE sg.session_id = ? AND sg.played_at <= ? ORDER BY sg.played_at DESC, sg.id DESC LIMIT 1';
const LIST_PLAYED =
  'SELECT g.title, sg.played_at FROM session_games sg JOIN games g ON g.id = sg.game_id ' +
  'WHERE sg.session_id = ? ORDER BY sg.played_at, sg.id';

async function findGame(connection, sessionId, vote) {
  const [[game]] = vote.ticker === null
    ? await connection.execute(FIND_PLAYED, [sessionId, sessionId, vote.time])
    : await connection.execute(FIND_BY_TICKER, [sessionId, vote.ticker]);
  if (game) return game;
  if (vote.ticker !== null) throw new HttpError(404, 'Unknown ticker');
  const [sessionGames] = await connection.execute(LIST_PLAYED, [sessionId]);
  if (!sessionGames.length) throw new HttpError(404, 'No games have been played in the active session yet');
  throw new HttpError(404, 'Vote timestamp does not match any game in the active session', {
    debug: { voteTimestamp: vote.timestamp, sessionGames },
  });
}

// The voter's row is locked first, so that the same vote sent twice at once counts once.
const LOCK_VOTER = 'INSERT INTO voters (session_id, username) VALUES (?, ?) ON DUPLICATE KEY UPDATE votes = votes + 1';
const FIND_NEAR =
  'SELECT MIN(ABS(TIMESTAMPDIFF(MICROSECOND, near.at, ?)) DIV 1000) AS millis FROM (' +
  'SELECT voted_at AS at FROM live_votes WHERE session_id = ? AND username = ? ' +
  'AND voted_at BETWEEN ? - INTERVAL 1 SECOND AND ? + INTERVAL 1 SECOND UNION ALL ' +
  'SELECT sent_at FROM chat_messages WHERE session_id = ? AND username = ? AND vote IS NOT NULL ' +
  'AND sent_at BETWEEN ? - INTERVAL 1 SECOND AND ? + INTERVAL 1 SECOND) near';

async function refuseDuplicate(connection, sessionId, { username, time }) {
  await connection.execute(LOCK_VOTER, [sessionId, username]);
  const [[{ millis }]] = await connection.execute(FIND_NEAR, [
    time, sessionId, username, time, time, sessionId, username, time, time,
  ]);
  if (millis === null) return;
  throw new HttpError(409, 'Duplicate vote detected (within 1 second of previous vote)', {
    message: 'Please wait at least 1 second between votes',
    timeSinceLastVote: millis / 1000,
  });
}

const INSERT_VOTE =
  'INSERT INTO live_votes (session_id, game_id, session_game_id, username, vote_type, voted_at) ' +
  'VALUES (?, ?, ?, ?, ?, ?)';
const COUNT_VOTE = {
  up: 'UPDATE games SET upvotes = upvotes + 1 WHERE id = ?',
  down: 'UPDATE games SET downvotes = downvotes + 1 WHERE id = ?',
};
const GET_TOTALS = 'SELECT upvotes, downvotes, upvotes - downvotes AS popularity_score FROM games WHERE id = ?';

/** The game, whose row lock every other voter waits for, comes last. */
async function countVote(connection, sessionId, game, vote) {
  await connection.execute(INSERT_VOTE, [
    sessionId, game.id, game.session_game_id, vote.username, vote.type, vote.time,
  ]);
  await connection.execute(COUNT_VOTE[vote.type], [game.id]);
  const [[totals]] = await connection.execute(GET_TOTALS, [game.id]);
  return totals;
}

// LAST_INSERT_ID(x) makes the channel's new head the insertId of the answer.
const ADVANCE_CHANNEL =
  'INSERT INTO channels (name, head) VALUES (?, LAST_INSERT_ID(1)) ' +
  'ON DUPLICATE KEY UPDATE head = LAST_INSERT_ID(head + 1)';
const INSERT_EVENT = 'INSERT INTO events (channel, seq, type, body) VALUES (?, ?, ?, ?)';
const INSERT_DELIVERIES =
  'INSERT INTO webhook_deliveries (event_id, webhook_id) ' +
  'SELECT DISTINCT ?, w.id FROM webhook_patterns p JOIN webhooks w ON w.id = p.webhook_id ' +
  "WHERE p.pattern IN (?, ?, '*') AND w.enabled = 1";
const QUEUE_DELIVERIES =
  'INSERT INTO webhook_queue (delivery_id, webhook_id, due_at) ' +
  'SELECT id, webhook_id, UTC_TIMESTAMP(3) FROM webhook_deliveries WHERE event_id = ?';

async function writeEvent(connection, channel, type, data) {
  const body = JSON.stringify({ event: type, timestamp: new Date(), data });
  const [{ insertId: seq }] = await connection.execute(ADVANCE_CHANNEL, [channel]);
  const [{ insertId: eventId }] = await connection.execute(INSERT_EVENT, [channel, seq, type, body]);
  const family = `${type.split('.')[0]}.*`;
  const [{ affectedRows }] = await connection.execute(INSERT_DELIVERIES, [eventId, type, family]);
  if (affectedRows > 0) await connection.execute(QUEUE_DELIVERIES, [eventId]);
}

// A shared lock: the session can neither be closed nor get another game before the vote is in.
const LOCK_SESSION = 'SELECT id FROM sessions WHERE active_marker = 1 LOCK IN SHARE MODE';

async function voteLive(request, response) {
  const vote = readVote(request.body);
  const { username, type } = vote;
  response.json(await transaction(async (connection) => {
    const [[session]] = await connection.execute(LOCK_SESSION);
    if (!session) throw new HttpError(404, 'No active session found');
    const game = await findGame(connection, session.id, vote);
    await refuseDuplicate(connection, session.id, vote);
    const totals = await countVote(connection, session.id, game, vote);
    await writeEvent(connection, `session.${session.id}`, 'vote.received', {
      sessionId: session.id,
      game: { id: game.id, title: game.title, pack_name: game.pack_name },
      vote: { username, type, timestamp: vote.time },
      totals,
    });
    return {
      success: true,
      message: 'Vote recorded successfully',
      session: { id: session.id, games_played: game.games_played },
      game: { id: game.id, title: game.title, ...totals },
      vote: { username, type, timestamp: vote.timestamp },
    };
  }));
}

// The server.

/** express 4 does not look at promises. */
const handled = (handler) => (request, response, next) => handler(request, response).catch(next);

// eslint-disable-next-line no-unused-vars -- express knows an error handler by its four parameters
function answerError(error, request, response, next) {
  if (error instanceof HttpError) {
    response.status(error.status).json({ error: error.message, ...error.extra });
  } else if (error.type === 'entity.too.large') {
    response.status(413).json({ error: 'Request body too large' });
  } else if (error.type === 'entity.parse.failed') {
    response.status(400).json({ error: 'Invalid JSON' });
  } else {
    console.error(error);
    response.status(500).json({ error: 'Internal server error' });
  }
}

const isPort = (address) => /^\d+$/.test(address);

function serve(address) {
  connect();
  const app = express();
  app.disable('x-powered-by');
  app.set('query parser', 'simple');
  app.get('/api/games', handled(listGames));
  app.get('/api/games/:id', handled(getGame));
  const json = express.json({ type: () => true, strict: false, limit: '1mb' });
  app.post('/api/votes/live', checkBot, json, handled(voteLive));
  app.use(() => { throw new HttpError(404, 'Not found'); });
  app.use(answerError);
  const server = isPort(address)
    ? app.listen(Number(address), '127.0.0.1')
    : app.listen(address, () => chmodSync(address, 0o666)); // nginx may run as another user
  server.keepAliveTimeout = 75000; // longer than nginx keeps its end
}

const [address] = process.argv.slice(2);
if (!address || !JWT_SECRET) {
  console.error('usage: node server.mjs PORT|SOCKET, with DB_SOCKET, DB_NAME, DB_USER, DB_PASSWORD, JWT_SECRET set');
  process.exit(2);
} else if (cluster.isPrimary) {
  if (!isPort(address)) rmSync(address, { force: true });
  for (let i = 0; i < availableParallelism(); i++) cluster.fork();
} else {
  serve(address);
}
