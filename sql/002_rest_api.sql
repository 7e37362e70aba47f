-- What the whole REST API needs beyond the main job: polls, the host's pick, chat logs, room monitors, idempotency keys,
-- and two stored procedures that save round trips where row locks are held.

-- pending_game_*: the host's not yet confirmed pick. poll_*: set while a poll runs; poll_ends_at once its end is
-- scheduled; poll_leading_*: the last poll.leading.
ALTER TABLE sessions
  ADD COLUMN pending_game_id      INT UNSIGNED NULL,
  ADD COLUMN pending_game_source  VARCHAR(10)  NULL,
  ADD COLUMN poll_started_at      DATETIME(3)  NULL,
  ADD COLUMN poll_ends_at         DATETIME(3)  NULL,
  ADD COLUMN poll_leading_game_id INT UNSIGNED NULL,
  ADD COLUMN poll_leading_label   VARCHAR(200) NULL,
  ADD COLUMN poll_leading_votes   INT          NULL,
  ADD KEY sessions_poll_ends (poll_ends_at);

-- A broadcast may leave out the socket it came from.
ALTER TABLE events ADD COLUMN except_socket_id VARCHAR(64) NULL;

-- The hot path: a foreign key takes a shared lock on the game before the counters take the exclusive one, and two voters
-- who both hold the shared one are a deadlock. Deleting a session removes its votes, and a game with votes is never
-- deleted, both under locks of their own.
ALTER TABLE live_votes DROP FOREIGN KEY live_votes_session, DROP FOREIGN KEY live_votes_game;

-- One imported chat line. message_hash makes the line unique whatever its length; vote is set on the lines that counted.
CREATE TABLE chat_messages (
  id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  session_id   INT UNSIGNED    NOT NULL,
  username     VARCHAR(100)    NOT NULL,
  sent_at      DATETIME(3)     NOT NULL,
  message      VARCHAR(4000)   NOT NULL,
  message_hash BINARY(32)      NOT NULL,
  vote         VARCHAR(4)      NULL,
  UNIQUE KEY chat_messages_line (session_id, username, sent_at, message_hash),
  KEY chat_messages_time (session_id, sent_at, id),
  CONSTRAINT chat_messages_vote CHECK (vote IN ('up', 'down'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What the relay is to watch, and what it last saw: status holds the data of the last game.status event.
CREATE TABLE room_monitors (
  session_game_id INT UNSIGNED NOT NULL PRIMARY KEY,
  session_id      INT UNSIGNED NOT NULL,
  state           VARCHAR(10)  NOT NULL,
  status          TEXT         NULL,
  updated_at      DATETIME(3)  NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
  KEY room_monitors_state (state),
  CONSTRAINT room_monitors_state CHECK (state IN ('monitoring', 'stopped')),
  CONSTRAINT room_monitors_status CHECK (JSON_VALID(status))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The first answer to a request with an Idempotency-Key, sealed, as one of them holds a token. Written in the
-- transaction of the change it answers.
CREATE TABLE idempotency_keys (
  subject         VARCHAR(150)    NOT NULL,
  idempotency_key VARCHAR(64)     NOT NULL,
  fingerprint     CHAR(64)        NOT NULL,
  status          SMALLINT        NOT NULL,
  sealed_body     MEDIUMTEXT      NOT NULL,
  created_at      DATETIME(3)     NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
  PRIMARY KEY (subject, idempotency_key),
  KEY idempotency_keys_created (created_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

DELIMITER //

-- Writes an event and its deliveries: the last work of a transaction. The channel's row lock is held from here to the
-- COMMIT, so this is one round trip instead of four. p_webhook: NULL for all that want the type, 0 for none (a push to
-- subscribers only), else that one, be it enabled or not (a test). Leaves the event's id in LAST_INSERT_ID().
CREATE PROCEDURE enqueue_event(
  IN p_channel VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  IN p_type    VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  IN p_family  VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  IN p_body    MEDIUMTEXT   CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  IN p_except  VARCHAR(64)  CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  IN p_webhook INT UNSIGNED
) MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
  DECLARE v_seq, v_event BIGINT UNSIGNED;
  INSERT INTO channels (name, head) VALUES (p_channel, 1) ON DUPLICATE KEY UPDATE head = head + 1;
  SELECT head INTO v_seq FROM channels WHERE name = p_channel;
  INSERT INTO events (channel, seq, type, body, except_socket_id) VALUES (p_channel, v_seq, p_type, p_body, p_except);
  SET v_event = LAST_INSERT_ID();
  IF p_webhook IS NULL THEN
    INSERT INTO webhook_deliveries (event_id, webhook_id)
      SELECT DISTINCT v_event, w.id FROM webhook_patterns p JOIN webhooks w ON w.id = p.webhook_id
      WHERE p.pattern IN (p_type, p_family, '*') AND w.enabled = 1;
  ELSEIF p_webhook > 0 THEN
    INSERT INTO webhook_deliveries (event_id, webhook_id) VALUES (v_event, p_webhook);
  END IF;
  IF ROW_COUNT() > 0 AND COALESCE(p_webhook, 1) > 0 THEN
    INSERT INTO webhook_queue (delivery_id, webhook_id, due_at)
      SELECT id, webhook_id, UTC_TIMESTAMP(3) FROM webhook_deliveries WHERE event_id = v_event;
  END IF;
  DO LAST_INSERT_ID(v_event);
END //

-- Counts one live vote, or tells why not, in one row. Which locks, in which order: the active session (shared: it cannot
-- be closed, nor get another game, before the vote is in), the voter (makes the rule of one second safe when the same
-- vote is sent many times at once, without different voters waiting for each other), and last the game.
CREATE PROCEDURE record_vote(
  IN p_username VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  IN p_type     VARCHAR(4)   CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  IN p_voted_at DATETIME(3),
  IN p_ticker   VARCHAR(16)  CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
) MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
  DECLARE v_outcome VARCHAR(20) DEFAULT 'counted';
  DECLARE v_session, v_session_game, v_game INT UNSIGNED;
  DECLARE v_games_played, v_upvotes, v_downvotes INT DEFAULT 0;
  DECLARE v_near_ms BIGINT;
  DECLARE v_title VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
  DECLARE v_pack VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
  DECLARE CONTINUE HANDLER FOR NOT FOUND BEGIN END;

  SELECT id INTO v_session FROM sessions WHERE active_marker = 1 LOCK IN SHARE MODE;
  SELECT COUNT(*) INTO v_games_played FROM session_games WHERE session_id = v_session;
  IF p_ticker IS NOT NULL THEN
    SELECT id INTO v_game FROM games WHERE ticker = p_ticker;
  ELSE
    -- The game whose [played_at, next played_at) holds the vote is the last one that began at or before it.
    SELECT id, game_id INTO v_session_game, v_game FROM session_games
      WHERE session_id = v_session AND played_at <= p_voted_at ORDER BY played_at DESC, id DESC LIMIT 1;
  END IF;

  IF v_session IS NULL THEN
    SET v_outcome = 'no session';
  ELSEIF v_game IS NULL THEN
    SET v_outcome = 'no game';
  ELSE
    INSERT INTO voters (session_id, username) VALUES (v_session, p_username) ON DUPLICATE KEY UPDATE votes = votes + 1;
    SELECT MIN(ABS(TIMESTAMPDIFF(MICROSECOND, voted_at, p_voted_at)) DIV 1000) INTO v_near_ms FROM (
      SELECT voted_at FROM live_votes WHERE session_id = v_session AND username = p_username
        AND voted_at BETWEEN p_voted_at - INTERVAL 1 SECOND AND p_voted_at + INTERVAL 1 SECOND
      UNION ALL
      SELECT sent_at FROM chat_messages WHERE session_id = v_session AND username = p_username AND vote IS NOT NULL
        AND sent_at BETWEEN p_voted_at - INTERVAL 1 SECOND AND p_voted_at + INTERVAL 1 SECOND
    ) near;
    IF v_near_ms IS NOT NULL THEN
      SET v_outcome = 'duplicate';
    ELSE
      INSERT INTO live_votes (session_id, game_id, session_game_id, username, vote_type, voted_at)
        VALUES (v_session, v_game, v_session_game, p_username, p_type, p_voted_at);
      UPDATE games SET upvotes = upvotes + (p_type = 'up'), downvotes = downvotes + (p_type = 'down') WHERE id = v_game;
      SELECT title, pack_name, upvotes, downvotes INTO v_title, v_pack, v_upvotes, v_downvotes
        FROM games WHERE id = v_game;
      IF v_title IS NULL THEN
        SET v_outcome = 'no game';
      END IF;
    END IF;
  END IF;
  SELECT v_outcome, v_session, v_games_played, v_game, v_title, v_pack, v_upvotes, v_downvotes, v_near_ms;
END //

DELIMITER ;
