-- The tables of the main job. Common subset of MariaDB 10.6+ and MySQL 8.0.19+.
-- All times are UTC with milliseconds; text compares byte for byte, as existing clients expect.

CREATE TABLE packs (
  id         INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name       VARCHAR(100) NOT NULL,
  favor_bias TINYINT      NOT NULL DEFAULT 0,
  created_at DATETIME(3)  NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
  UNIQUE KEY packs_name (name),
  CONSTRAINT packs_favor_bias CHECK (favor_bias IN (-1, 0, 1))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE games (
  id              INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  pack_name       VARCHAR(100) NOT NULL,
  title           VARCHAR(200) NOT NULL,
  min_players     INT          NOT NULL,
  max_players     INT          NOT NULL,
  length_minutes  INT          NULL,
  has_audience    TINYINT      NOT NULL DEFAULT 0,
  family_friendly TINYINT      NOT NULL DEFAULT 0,
  game_type       VARCHAR(50)  NULL,
  secondary_type  VARCHAR(50)  NULL,
  ticker          VARCHAR(16)  NULL,
  play_count      INT          NOT NULL DEFAULT 0,
  upvotes         INT          NOT NULL DEFAULT 0,
  downvotes       INT          NOT NULL DEFAULT 0,
  enabled         TINYINT      NOT NULL DEFAULT 1,
  favor_bias      TINYINT      NOT NULL DEFAULT 0,
  created_at      DATETIME(3)  NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
  UNIQUE KEY games_pack_title (pack_name, title),
  UNIQUE KEY games_ticker (ticker),
  CONSTRAINT games_pack FOREIGN KEY (pack_name) REFERENCES packs (name),
  CONSTRAINT games_players CHECK (min_players >= 1 AND max_players >= min_players),
  CONSTRAINT games_length CHECK (length_minutes >= 1),
  CONSTRAINT games_counts CHECK (play_count >= 0 AND upvotes >= 0 AND downvotes >= 0),
  CONSTRAINT games_flags CHECK (has_audience IN (0, 1) AND family_friendly IN (0, 1) AND enabled IN (0, 1)),
  CONSTRAINT games_favor_bias CHECK (favor_bias IN (-1, 0, 1))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- active_marker is 1 for the active session and NULL for all others, and NULLs never collide:
-- the unique key is what makes a second active session impossible.
CREATE TABLE sessions (
  id            INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  notes         TEXT         NULL,
  is_active     TINYINT      NOT NULL DEFAULT 1,
  archived      TINYINT      NOT NULL DEFAULT 0,
  created_at    DATETIME(3)  NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
  closed_at     DATETIME(3)  NULL,
  active_marker TINYINT      GENERATED ALWAYS AS (IF(is_active = 1, 1, NULL)) STORED,
  UNIQUE KEY sessions_one_active (active_marker),
  KEY sessions_created (created_at, id),
  CONSTRAINT sessions_flags CHECK (is_active IN (0, 1) AND archived IN (0, 1)),
  CONSTRAINT sessions_notes CHECK (CHAR_LENGTH(notes) <= 16000)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE session_games (
  id                        INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  session_id                INT UNSIGNED NOT NULL,
  game_id                   INT UNSIGNED NOT NULL,
  played_at                 DATETIME(3)  NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
  manually_added            TINYINT      NOT NULL DEFAULT 0,
  source                    VARCHAR(10)  NOT NULL DEFAULT 'dice',
  status                    VARCHAR(10)  NOT NULL DEFAULT 'playing',
  room_code                 CHAR(4)      NULL,
  player_count              INT          NULL,
  player_count_check_status VARCHAR(20)  NULL,
  KEY session_games_played (session_id, played_at, id),
  KEY session_games_game (game_id),
  CONSTRAINT session_games_session FOREIGN KEY (session_id) REFERENCES sessions (id),
  CONSTRAINT session_games_game FOREIGN KEY (game_id) REFERENCES games (id),
  CONSTRAINT session_games_source CHECK (source IN ('dice', 'manual', 'poll')),
  CONSTRAINT session_games_status CHECK (status IN ('playing', 'played', 'skipped')),
  CONSTRAINT session_games_player_count CHECK (player_count >= 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One row a voter and session. Locking it is what makes "one vote a second" safe under concurrent requests
-- without making different voters wait for each other.
CREATE TABLE voters (
  session_id INT UNSIGNED NOT NULL,
  username   VARCHAR(100) NOT NULL,
  votes      INT          NOT NULL DEFAULT 1,
  PRIMARY KEY (session_id, username),
  CONSTRAINT voters_session FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE live_votes (
  id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  session_id      INT UNSIGNED NOT NULL,
  game_id         INT UNSIGNED NOT NULL,
  session_game_id INT UNSIGNED NULL,
  username        VARCHAR(100) NOT NULL,
  vote_type       VARCHAR(4)   NOT NULL,
  voted_at        DATETIME(3)  NOT NULL,
  created_at      DATETIME(3)  NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
  KEY live_votes_voter (session_id, username, voted_at),
  KEY live_votes_tally (session_id, game_id, vote_type),
  KEY live_votes_game (game_id),
  KEY live_votes_time (voted_at, id),
  CONSTRAINT live_votes_session FOREIGN KEY (session_id) REFERENCES sessions (id),
  CONSTRAINT live_votes_game FOREIGN KEY (game_id) REFERENCES games (id),
  CONSTRAINT live_votes_type CHECK (vote_type IN ('up', 'down'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The event log. channels.head is advanced last before COMMIT; its row lock makes seq order equal commit
-- order within a channel, and a rollback leaves no hole.
CREATE TABLE channels (
  name VARCHAR(200)    NOT NULL PRIMARY KEY,
  head BIGINT UNSIGNED NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- body is the exact webhook body, {"event":..,"timestamp":..,"data":..}: written once, signed and sent byte
-- for byte, and the WebSocket frame is made from the same text.
CREATE TABLE events (
  id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  channel    VARCHAR(200)    NOT NULL,
  seq        BIGINT UNSIGNED NOT NULL,
  type       VARCHAR(100)    NOT NULL,
  body       MEDIUMTEXT      NOT NULL,
  created_at DATETIME(3)     NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
  UNIQUE KEY events_channel_seq (channel, seq),
  KEY events_created (created_at),
  CONSTRAINT events_body CHECK (JSON_VALID(body))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE webhooks (
  id              INT UNSIGNED  NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name            VARCHAR(100)  NOT NULL,
  url             VARCHAR(2000) NOT NULL,
  sealed_secret   VARCHAR(1000) NOT NULL,
  enabled         TINYINT       NOT NULL DEFAULT 1,
  disabled_reason VARCHAR(200)  NULL,
  created_at      DATETIME(3)   NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
  CONSTRAINT webhooks_enabled CHECK (enabled IN (0, 1))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- position keeps the list in the order its owner wrote it.
CREATE TABLE webhook_patterns (
  webhook_id INT UNSIGNED NOT NULL,
  pattern    VARCHAR(100) NOT NULL,
  position   INT          NOT NULL,
  PRIMARY KEY (webhook_id, pattern),
  KEY webhook_patterns_pattern (pattern, webhook_id),
  CONSTRAINT webhook_patterns_webhook FOREIGN KEY (webhook_id) REFERENCES webhooks (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The record people search. Hot path: no foreign keys (they take shared locks on every insert).
CREATE TABLE webhook_deliveries (
  id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  event_id    BIGINT UNSIGNED NOT NULL,
  webhook_id  INT UNSIGNED    NOT NULL,
  status      VARCHAR(10)     NOT NULL DEFAULT 'pending',
  attempts    INT             NOT NULL DEFAULT 0,
  created_at  DATETIME(3)     NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
  finished_at DATETIME(3)     NULL,
  UNIQUE KEY webhook_deliveries_event (event_id, webhook_id),
  KEY webhook_deliveries_webhook (webhook_id, id),
  CONSTRAINT webhook_deliveries_status CHECK (status IN ('pending', 'succeeded', 'failed'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A row present means still owed. lease_token is set by a claim, which also pushes due_at into the future:
-- a crashed claim comes due by itself.
CREATE TABLE webhook_queue (
  delivery_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  webhook_id  INT UNSIGNED    NOT NULL,
  due_at      DATETIME(3)     NOT NULL,
  lease_token BIGINT UNSIGNED NULL,
  attempts    INT             NOT NULL DEFAULT 0,
  KEY webhook_queue_due (webhook_id, due_at, delivery_id),
  KEY webhook_queue_all_due (due_at, delivery_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE webhook_logs (
  id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  webhook_id      INT UNSIGNED    NOT NULL,
  delivery_id     BIGINT UNSIGNED NOT NULL,
  attempt         INT             NOT NULL,
  response_status INT             NULL,
  error_message   VARCHAR(500)    NULL,
  duration_ms     INT             NOT NULL,
  response_body   VARCHAR(1024)   NULL,
  created_at      DATETIME(3)     NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
  KEY webhook_logs_webhook (webhook_id, id),
  KEY webhook_logs_delivery (delivery_id, attempt)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
