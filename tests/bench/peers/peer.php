<?php
// A peer for tests/bench/run: three of our endpoints on the same database, as one writes them in plain PHP: PDO with
// persistent connections and real prepared statements, under PHP-FPM (php-fpm.conf.in beside this file). DB_SOCKET,
// DB_NAME, DB_USER, DB_PASSWORD and JWT_SECRET come from the environment.
// Checks, writes and answers are ours. The plain statements are what a client can do without stored procedures. What it
// leaves out (CORS headers, request ids, the relay's nudge) is to its advantage.
declare(strict_types=1);

const JSON_FLAGS =
    JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_LINE_TERMINATORS;
const INT32_MAX = 2147483647;

final class HttpError extends Exception
{
    public function __construct(public readonly int $status, string $message, public readonly array $extra = [])
    {
        parent::__construct($message);
    }
}

function database(): PDO
{
    return new PDO(
        'mysql:unix_socket=' . getenv('DB_SOCKET') . ';dbname=' . getenv('DB_NAME') . ';charset=utf8mb4',
        getenv('DB_USER'),
        getenv('DB_PASSWORD'),
        [
            PDO::ATTR_PERSISTENT => true,
            PDO::ATTR_EMULATE_PREPARES => false,
            PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
            PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
            PDO::MYSQL_ATTR_INIT_COMMAND => 'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
        ],
    );
}

function execute(PDO $db, string $sql, array $values = []): PDOStatement
{
    $statement = $db->prepare($sql);
    $statement->execute($values);
    return $statement;
}

/** Runs $work in one transaction; the whole of it again, up to five times, after a deadlock or a lock's timeout. */
function transaction(PDO $db, callable $work): array
{
    for ($attempt = 1;; ++$attempt) {
        $db->beginTransaction();
        try {
            $result = $work();
            $db->commit();
            return $result;
        } catch (Throwable $error) {
            $db->rollBack();
            $conflict = $error instanceof PDOException && in_array($error->errorInfo[1] ?? 0, [1020, 1205, 1213], true);
            if (!$conflict || $attempt === 5) {
                throw $error;
            }
        }
        usleep(random_int(1000, 5000 * $attempt));
    }
}

/** '2026-03-15 20:30:00.000' as the wire has it. */
function iso(string $datetime): string
{
    return strtr($datetime, ' ', 'T') . 'Z';
}

// The games.

const GAMES = <<<'SQL'
    SELECT g.id, g.pack_name, g.title, g.min_players, g.max_players, g.length_minutes, g.has_audience,
           g.family_friendly, g.game_type, g.secondary_type, g.ticker, g.play_count,
           g.upvotes - g.downvotes AS popularity_score, g.upvotes, g.downvotes, g.enabled, g.favor_bias, g.created_at
    FROM games g
    SQL;
const LENGTHS = ['short' => [0, 15], 'medium' => [16, 25], 'long' => [26, INT32_MAX]];

function get_game(string $id): array
{
    $game = execute(database(), GAMES . ' WHERE g.id = ?', [preg_match('/^[1-9]\d*$/D', $id) ? $id : 0])->fetch();
    if ($game === false) {
        throw new HttpError(404, 'Game not found');
    }
    $game['created_at'] = iso($game['created_at']);
    return $game;
}

function read_flag(string $text, string $name): int
{
    return match ($text) {
        'true' => 1,
        'false' => 0,
        default => throw new HttpError(400, "$name must be true or false"),
    };
}

/** The filters as a WHERE clause and its values. */
function read_filter(array $query): array
{
    $conditions = $values = [];
    foreach (['enabled' => 'g.enabled = ?', 'familyFriendly' => 'g.family_friendly = ?'] as $name => $condition) {
        if (isset($query[$name])) {
            $conditions[] = $condition;
            $values[] = read_flag($query[$name], $name);
        }
    }
    if (isset($query['playerCount'])) {
        if (!preg_match('/^[1-9]\d*$/D', $query['playerCount']) || $query['playerCount'] > INT32_MAX) {
            throw new HttpError(400, 'playerCount must be a whole number from 1 to ' . INT32_MAX);
        }
        $conditions[] = '? BETWEEN g.min_players AND g.max_players';
        $values[] = (int) $query['playerCount'];
    }
    if (isset($query['drawing'])) {
        if ($query['drawing'] !== 'only' && $query['drawing'] !== 'exclude') {
            throw new HttpError(400, 'drawing must be only or exclude');
        }
        $conditions[] = "(COALESCE(g.game_type, '') = 'Drawing') = ?";
        $values[] = $query['drawing'] === 'only' ? 1 : 0;
    }
    if (isset($query['length'])) {
        $conditions[] = 'COALESCE(g.length_minutes, 0) BETWEEN ? AND ?';
        array_push(
            $values,
            ...LENGTHS[$query['length']] ?? throw new HttpError(400, 'length must be short, medium or long'),
        );
    }
    if (isset($query['pack'])) {
        $conditions[] = 'g.pack_name = ?';
        $values[] = $query['pack'];
    }
    return [$conditions ? ' WHERE ' . implode(' AND ', $conditions) : '', $values];
}

function list_games(): array
{
    [$where, $values] = read_filter(array_filter($_GET, 'is_string'));
    $games = execute(database(), GAMES . $where . ' ORDER BY g.pack_name, g.title', $values)->fetchAll();
    foreach ($games as &$game) {
        $game['created_at'] = iso($game['created_at']);
    }
    return $games;
}

// A vote.

function base64url_decode(string $text): string
{
    return base64_decode(strtr($text, '-_', '+/'));
}

/** The claims of an HS256 token; null when it is not valid any more or never was. */
function verify_token(string $token): ?array
{
    $parts = explode('.', $token);
    if (count($parts) !== 3) {
        return null;
    }
    [$header, $payload, $signature] = $parts;
    $mac = hash_hmac('sha256', "$header.$payload", getenv('JWT_SECRET'), true);
    if (!hash_equals($mac, base64url_decode($signature))) {
        return null;
    }
    $header = json_decode(base64url_decode($header), true);
    $claims = json_decode(base64url_decode($payload), true);
    $exp = $claims['exp'] ?? null;
    $valid = ($header['alg'] ?? null) === 'HS256' && is_int($exp) && $exp > time()
        && in_array($claims['role'] ?? null, ['viewer', 'bot', 'admin'], true);
    return $valid ? $claims : null;
}

function check_bot(): void
{
    $authorization = $_SERVER['HTTP_AUTHORIZATION'] ?? '';
    if (strncasecmp($authorization, 'Bearer ', 7) !== 0 || strlen($authorization) === 7) {
        header('WWW-Authenticate: Bearer');
        throw new HttpError(401, 'Access token required');
    }
    $claims = verify_token(substr($authorization, 7)) ?? throw new HttpError(403, 'Invalid or expired token');
    if ($claims['role'] === 'viewer') {
        throw new HttpError(403, 'Insufficient permissions');
    }
}

function read_text(stdClass $body, string $name, int $max_characters): ?string
{
    $value = $body->$name ?? null;
    if ($value === null) {
        return null;
    }
    if (!is_string($value)) {
        throw new HttpError(400, "$name must be a string");
    }
    if (iconv_strlen($value, 'UTF-8') > $max_characters) {
        throw new HttpError(400, "$name must be at most $max_characters characters");
    }
    if (str_contains($value, "\0")) {
        throw new HttpError(400, "$name must not contain U+0000");
    }
    return $value;
}

const ISO_TIME = '/^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?'
    . '(?:[Zz]|([+-])(\d\d)(?::?(\d\d))?)?$/D';

/**
 * ISO 8601 with any offset, UTC without one, as 'Y-m-d H:i:s.v' in UTC; null for anything else and for what a DATETIME
 * does not hold.
 */
function parse_time(string $text): ?string
{
    if (!preg_match(ISO_TIME, $text, $match)) {
        return null;
    }
    [, $year, $month, $day, $hour, $minute] = array_map('intval', $match);
    $second = (int) ($match[6] ?? 0);
    $offset_hour = (int) ($match[9] ?? 0);
    $offset_minute = (int) ($match[10] ?? 0);
    if ($year < 100 || !checkdate($month, $day, $year) || max($hour, $offset_hour) > 23
        || max($minute, $second, $offset_minute) > 59) {
        return null;
    }
    $offset = ($offset_hour * 60 + $offset_minute) * (($match[8] ?? '') === '-' ? -60 : 60);
    $time = gmmktime($hour, $minute, $second, $month, $day, $year) - $offset;
    $utc_year = (int) gmdate('Y', $time);
    if ($utc_year < 1000 || $utc_year > 9999) {
        return null;
    }
    return gmdate('Y-m-d H:i:s.', $time) . substr(str_pad($match[7] ?? '', 3, '0'), 0, 3);
}

function read_vote(): array
{
    $text = file_get_contents('php://input');
    try {
        $body = json_decode($text === '' ? '{}' : $text, false, 64, JSON_THROW_ON_ERROR);
    } catch (JsonException) {
        throw new HttpError(400, 'Invalid JSON');
    }
    if (!$body instanceof stdClass) {
        throw new HttpError(400, 'Request body must be a JSON object');
    }
    $username = read_text($body, 'username', 100) ?? '';
    $type = read_text($body, 'vote', 100) ?? '';
    $timestamp = read_text($body, 'timestamp', 100) ?? '';
    if ($username === '' || $type === '' || $timestamp === '') {
        throw new HttpError(400, 'Missing required fields: username, vote, timestamp');
    }
    if ($type !== 'up' && $type !== 'down') {
        throw new HttpError(400, 'vote must be either "up" or "down"');
    }
    $time = parse_time($timestamp)
        ?? throw new HttpError(400, 'Invalid timestamp format. Use ISO 8601 format (e.g., 2025-11-01T20:30:00Z)');
    $ticker = read_text($body, 'ticker', 16);
    return ['username' => $username, 'type' => $type, 'timestamp' => $timestamp, 'time' => $time, 'ticker' => $ticker];
}

const FIND_BY_TICKER = <<<'SQL'
    SELECT (SELECT COUNT(*) FROM session_games WHERE session_id = ?) AS games_played, NULL AS session_game_id,
           g.id, g.title, g.pack_name
    FROM games g WHERE g.ticker = ?
    SQL;
const FIND_PLAYED = <<<'SQL'
    SELECT (SELECT COUNT(*) FROM session_games WHERE session_id = ?) AS games_played, sg.id AS session_game_id,
           g.id, g.title, g.pack_name
    FROM session_games sg JOIN games g ON g.id = sg.game_id
    WHERE sg.session_id = ? AND sg.played_at <= ? ORDER BY sg.played_at DESC, sg.id DESC LIMIT 1
    SQL;
const LIST_PLAYED = <<<'SQL'
    SELECT g.title, sg.played_at FROM session_games sg JOIN games g ON g.id = sg.game_id
    WHERE sg.session_id = ? ORDER BY sg.played_at, sg.id
    SQL;

function find_game(PDO $db, int $session_id, array $vote): array
{
    $game = $vote['ticker'] === null
        ? execute($db, FIND_PLAYED, [$session_id, $session_id, $vote['time']])->fetch()
        : execute($db, FIND_BY_TICKER, [$session_id, $vote['ticker']])->fetch();
    if ($game !== false) {
        return $game;
    }
    if ($vote['ticker'] !== null) {
        throw new HttpError(404, 'Unknown ticker');
    }
    $played = execute($db, LIST_PLAYED, [$session_id])->fetchAll();
    if (!$played) {
        throw new HttpError(404, 'No games have been played in the active session yet');
    }
    foreach ($played as &$row) {
        $row['played_at'] = iso($row['played_at']);
    }
    $debug = ['voteTimestamp' => $vote['timestamp'], 'sessionGames' => $played];
    throw new HttpError(404, 'Vote timestamp does not match any game in the active session', ['debug' => $debug]);
}

// The voter's row is locked first, so that the same vote sent twice at once counts once.
const LOCK_VOTER = <<<'SQL'
    INSERT INTO voters (session_id, username) VALUES (?, ?) ON DUPLICATE KEY UPDATE votes = votes + 1
    SQL;
const FIND_NEAR = <<<'SQL'
    SELECT MIN(ABS(TIMESTAMPDIFF(MICROSECOND, near.at, ?)) DIV 1000) FROM (
      SELECT voted_at AS at FROM live_votes WHERE session_id = ? AND username = ?
        AND voted_at BETWEEN ? - INTERVAL 1 SECOND AND ? + INTERVAL 1 SECOND
      UNION ALL
      SELECT sent_at FROM chat_messages WHERE session_id = ? AND username = ? AND vote IS NOT NULL
        AND sent_at BETWEEN ? - INTERVAL 1 SECOND AND ? + INTERVAL 1 SECOND) near
    SQL;

function refuse_duplicate(PDO $db, int $session_id, array $vote): void
{
    ['username' => $username, 'time' => $time] = $vote;
    execute($db, LOCK_VOTER, [$session_id, $username]);
    $values = [$time, $session_id, $username, $time, $time, $session_id, $username, $time, $time];
    $millis = execute($db, FIND_NEAR, $values)->fetchColumn();
    if ($millis === null) {
        return;
    }
    throw new HttpError(409, 'Duplicate vote detected (within 1 second of previous vote)', [
        'message' => 'Please wait at least 1 second between votes',
        'timeSinceLastVote' => $millis / 1000,
    ]);
}

const INSERT_VOTE = <<<'SQL'
    INSERT INTO live_votes (session_id, game_id, session_game_id, username, vote_type, voted_at)
    VALUES (?, ?, ?, ?, ?, ?)
    SQL;
const COUNT_VOTE = [
    'up' => 'UPDATE games SET upvotes = upvotes + 1 WHERE id = ?',
    'down' => 'UPDATE games SET downvotes = downvotes + 1 WHERE id = ?',
];
const GET_TOTALS = 'SELECT upvotes, downvotes, upvotes - downvotes AS popularity_score FROM games WHERE id = ?';

/** The game, whose row lock every other voter waits for, comes last. */
function count_vote(PDO $db, int $session_id, array $game, array $vote): array
{
    $values = [
        $session_id, $game['id'], $game['session_game_id'], $vote['username'], $vote['type'], $vote['time'],
    ];
    execute($db, INSERT_VOTE, $values);
    execute($db, COUNT_VOTE[$vote['type']], [$game['id']]);
    return execute($db, GET_TOTALS, [$game['id']])->fetch();
}

// LAST_INSERT_ID(x) makes the channel's new head the insert id of the answer.
const ADVANCE_CHANNEL = <<<'SQL'
    INSERT INTO channels (name, head) VALUES (?, LAST_INSERT_ID(1))
    ON DUPLICATE KEY UPDATE head = LAST_INSERT_ID(head + 1)
    SQL;
const INSERT_EVENT = 'INSERT INTO events (channel, seq, type, body) VALUES (?, ?, ?, ?)';
const INSERT_DELIVERIES = <<<'SQL'
    INSERT INTO webhook_deliveries (event_id, webhook_id)
    SELECT DISTINCT ?, w.id FROM webhook_patterns p JOIN webhooks w ON w.id = p.webhook_id
    WHERE p.pattern IN (?, ?, '*') AND w.enabled = 1
    SQL;
const QUEUE_DELIVERIES = <<<'SQL'
    INSERT INTO webhook_queue (delivery_id, webhook_id, due_at)
    SELECT id, webhook_id, UTC_TIMESTAMP(3) FROM webhook_deliveries WHERE event_id = ?
    SQL;

function write_event(PDO $db, string $channel, string $type, array $data): void
{
    $now = (new DateTimeImmutable('now', new DateTimeZone('UTC')))->format('Y-m-d\TH:i:s.v\Z');
    $body = json_encode(['event' => $type, 'timestamp' => $now, 'data' => $data], JSON_FLAGS);
    execute($db, ADVANCE_CHANNEL, [$channel]);
    execute($db, INSERT_EVENT, [$channel, $db->lastInsertId(), $type, $body]);
    $event_id = $db->lastInsertId();
    $family = explode('.', $type)[0] . '.*';
    if (execute($db, INSERT_DELIVERIES, [$event_id, $type, $family])->rowCount() > 0) {
        execute($db, QUEUE_DELIVERIES, [$event_id]);
    }
}

// A shared lock: the session can neither be closed nor get another game before the vote is in.
const LOCK_SESSION = 'SELECT id FROM sessions WHERE active_marker = 1 LOCK IN SHARE MODE';

function vote_live(): array
{
    check_bot();
    $vote = read_vote();
    $db = database();
    return transaction($db, function () use ($db, $vote): array {
        $session_id = execute($db, LOCK_SESSION)->fetchColumn();
        if ($session_id === false) {
            throw new HttpError(404, 'No active session found');
        }
        $game = find_game($db, $session_id, $vote);
        refuse_duplicate($db, $session_id, $vote);
        $totals = count_vote($db, $session_id, $game, $vote);
        $voter = ['username' => $vote['username'], 'type' => $vote['type']];
        write_event($db, "session.$session_id", 'vote.received', [
            'sessionId' => $session_id,
            'game' => ['id' => $game['id'], 'title' => $game['title'], 'pack_name' => $game['pack_name']],
            'vote' => $voter + ['timestamp' => iso($vote['time'])],
            'totals' => $totals,
        ]);
        return [
            'success' => true,
            'message' => 'Vote recorded successfully',
            'session' => ['id' => $session_id, 'games_played' => $game['games_played']],
            'game' => ['id' => $game['id'], 'title' => $game['title']] + $totals,
            'vote' => $voter + ['timestamp' => $vote['timestamp']],
        ];
    });
}

// The request.

function route(string $method, string $path): array
{
    if ($method === 'GET' && $path === '/api/games') {
        return list_games();
    }
    if ($method === 'GET' && preg_match('#^/api/games/([^/]+)$#D', $path, $match)) {
        return get_game($match[1]);
    }
    if ($method === 'POST' && $path === '/api/votes/live') {
        return vote_live();
    }
    throw new HttpError(404, 'Not found');
}

/** Sends the answer, with a validator where express has one too. */
function send(int $status, array $answer): void
{
    $body = json_encode($answer, JSON_FLAGS);
    if ($status === 200 && $_SERVER['REQUEST_METHOD'] === 'GET') {
        $tag = 'W/"' . hash('xxh3', $body) . '"';
        header("ETag: $tag");
        if (($_SERVER['HTTP_IF_NONE_MATCH'] ?? '') === $tag) {
            http_response_code(304);
            return;
        }
    }
    http_response_code($status);
    header('Content-Type: application/json; charset=utf-8');
    header('Content-Length: ' . strlen($body));
    echo $body;
}

try {
    send(200, route($_SERVER['REQUEST_METHOD'], explode('?', $_SERVER['REQUEST_URI'], 2)[0]));
} catch (HttpError $error) {
    send($error->status, ['error' => $error->getMessage()] + $error->extra);
} catch (Throwable $error) {
    error_log((string) $error);
    send(500, ['error' => 'Internal server error']);
}
