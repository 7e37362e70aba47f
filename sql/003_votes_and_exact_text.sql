-- Text compares byte for byte. utf8mb4_bin does not: to it, a name and the same name with a space behind it are one. The
-- collation that does has a name in MariaDB, and another in MySQL (whose part of the comment MariaDB passes over).
ALTER TABLE games DROP FOREIGN KEY games_pack;  -- both ends change
ALTER DATABASE COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE packs CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE games CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE sessions CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE session_games CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE voters CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE live_votes CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE channels CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE events CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE webhooks CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE webhook_patterns CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE webhook_deliveries CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE webhook_queue CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE webhook_logs CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE chat_messages CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE room_monitors CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE idempotency_keys CONVERT TO CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!50701 utf8mb4_0900_bin */;
ALTER TABLE games ADD CONSTRAINT games_pack FOREIGN KEY (pack_name) REFERENCES packs (name);

-- A vote in one round trip: the game's and the channel's rows, which all voters of a game wait for, are locked only
-- within the server, which commits by itself. Measured against two calls: see the README's table.

-- Deleting a session deletes its voters, under a lock of its own; the key would lock the session's row once more.
ALTER TABLE voters DROP FOREIGN KEY voters_session;

-- From here on an import adds those whose votes it counted.
INSERT IGNORE INTO voters (session_id, username)
  SELECT DISTINCT session_id, username FROM chat_messages WHERE vote IS NOT NULL;

-- MariaDB holds no JSON valid that is nested deeper than 32 levels (JSON_DEPTH_LIMIT); a broadcast may be. Bodies come from
-- our own writer.
ALTER TABLE events DROP CONSTRAINT events_body;

DROP PROCEDURE enqueue_event;
DROP PROCEDURE record_vote;

DELIMITER //

-- Parameters and variables have the collation of the database, which is that of the columns.

-- Writes an event and its deliveries: the last work of a transaction, since the channel's row lock is held from here to
-- the COMMIT. p_webhook: NULL for all that want the type, 0 for none (a push to subscribers only), else that one, be it
-- enabled or not (a test). Leaves the event's id in LAST_INSERT_ID().
CREATE PROCEDURE enqueue_event(
  IN p_channel VARCHAR(200),
  IN p_type    VARCHAR(100),
  IN p_family  VARCHAR(100),
  IN p_body    MEDIUMTEXT,
  IN p_except  VARCHAR(64),
  IN p_webhook INT UNSIGNED
) MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
  DECLARE v_event BIGINT UNSIGNED;
  DECLARE v_wanted INT DEFAULT 0;
  -- LAST_INSERT_ID(x) keeps x for the next statement: the channel's new head.
  UPDATE channels SET head = LAST_INSERT_ID(head + 1) WHERE name = p_channel;
  IF ROW_COUNT() = 0 THEN
    INSERT INTO channels (name, head) VALUES (p_channel, LAST_INSERT_ID(1))
      ON DUPLICATE KEY UPDATE head = LAST_INSERT_ID(head + 1);
  END IF;
  INSERT INTO events (channel, seq, type, body, except_socket_id)
    VALUES (p_channel, LAST_INSERT_ID(), p_type, p_body, p_except);
  SET v_event = LAST_INSERT_ID();
  IF p_webhook IS NULL THEN
    SELECT COUNT(*) INTO v_wanted FROM webhook_patterns WHERE pattern IN (p_type, p_family, '*');
    IF v_wanted THEN
      INSERT INTO webhook_deliveries (event_id, webhook_id)
        SELECT DISTINCT v_event, w.id FROM webhook_patterns p JOIN webhooks w ON w.id = p.webhook_id
        WHERE p.pattern IN (p_type, p_family, '*') AND w.enabled = 1;
    END IF;
  ELSEIF p_webhook > 0 THEN
    SET v_wanted = 1;
    INSERT INTO webhook_deliveries (event_id, webhook_id) VALUES (v_event, p_webhook);
  END IF;
  IF v_wanted THEN
    INSERT INTO webhook_queue (delivery_id, webhook_id, due_at)
      SELECT id, webhook_id, UTC_TIMESTAMP(3) FROM webhook_deliveries WHERE event_id = v_event;
    DO LAST_INSERT_ID(v_event);
  END IF;
END //

-- Counts one live vote and writes its event, or tells why not, in one row. Which locks, in which order: the active session
-- (shared: it cannot be closed, nor get another game, before the vote is in), the voter (makes the rule of one second safe
-- when the same vote is sent many times at once, without different voters waiting for each other), then the game and the
-- channel. p_now and p_vote are what the event tells of the vote: its time as text, and the "vote" member as JSON.
-- p_commit: 1 commits a vote that counted right here, so that nobody waits for its locks over a round trip.
CREATE PROCEDURE record_vote(
  IN p_username VARCHAR(100),
  IN p_type     VARCHAR(4),
  IN p_voted_at DATETIME(3),
  IN p_ticker   VARCHAR(16),
  IN p_now      VARCHAR(30),
  IN p_vote     VARCHAR(1000),
  IN p_commit   TINYINT
) MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
  DECLARE v_outcome VARCHAR(20) DEFAULT 'counted';
  DECLARE v_session, v_session_game, v_game INT UNSIGNED;
  DECLARE v_games_played, v_upvotes, v_downvotes INT DEFAULT 0;
  DECLARE v_near_ms, v_near_chat_ms BIGINT;
  -- There is nothing behind the last second of the year 9999.
  DECLARE v_second_later DATETIME(3) DEFAULT
    IF(p_voted_at < '9999-12-31 23:59:58.999', p_voted_at + INTERVAL 1 SECOND, '9999-12-31 23:59:59.999');
  DECLARE v_title VARCHAR(200);
  DECLARE v_pack VARCHAR(100);
  DECLARE CONTINUE HANDLER FOR NOT FOUND BEGIN END;

  SELECT id INTO v_session FROM sessions WHERE active_marker = 1 LOCK IN SHARE MODE;
  IF p_ticker IS NULL THEN
    -- The game whose [played_at, next played_at) holds the vote is the last one that began at or before it.
    SELECT id, game_id INTO v_session_game, v_game FROM session_games
      WHERE session_id = v_session AND played_at <= p_voted_at ORDER BY played_at DESC, id DESC LIMIT 1;
  ELSE
    SELECT id INTO v_game FROM games WHERE ticker = p_ticker;
  END IF;

  IF v_session IS NULL THEN
    SET v_outcome = 'no session';
  ELSEIF v_game IS NULL THEN
    SET v_outcome = 'no game';
  ELSE
    INSERT INTO voters (session_id, username) VALUES (v_session, p_username) ON DUPLICATE KEY UPDATE votes = votes + 1;
    IF ROW_COUNT() <> 1 THEN  -- who was not among the voters has no vote yet, neither live nor in an imported chat
      SELECT MIN(ABS(TIMESTAMPDIFF(MICROSECOND, voted_at, p_voted_at)) DIV 1000) INTO v_near_ms FROM live_votes
        WHERE session_id = v_session AND username = p_username
        AND voted_at BETWEEN p_voted_at - INTERVAL 1 SECOND AND v_second_later;
      SELECT MIN(ABS(TIMESTAMPDIFF(MICROSECOND, sent_at, p_voted_at)) DIV 1000) INTO v_near_chat_ms FROM chat_messages
        WHERE session_id = v_session AND username = p_username AND vote IS NOT NULL
        AND sent_at BETWEEN p_voted_at - INTERVAL 1 SECOND AND v_second_later;
      SET v_near_ms = LEAST(COALESCE(v_near_ms, v_near_chat_ms), COALESCE(v_near_chat_ms, v_near_ms));
    END IF;
    IF v_near_ms IS NOT NULL THEN
      SET v_outcome = 'duplicate';
    ELSE
      INSERT INTO live_votes (session_id, game_id, session_game_id, username, vote_type, voted_at)
        VALUES (v_session, v_game, v_session_game, p_username, p_type, p_voted_at);
      SELECT COUNT(*) INTO v_games_played FROM session_games WHERE session_id = v_session;
      SELECT title, pack_name, upvotes + (p_type = 'up'), downvotes + (p_type = 'down')
        INTO v_title, v_pack, v_upvotes, v_downvotes FROM games WHERE id = v_game FOR UPDATE;
      IF v_title IS NULL THEN
        SET v_outcome = 'no game';  -- deleted just now
      ELSE
        UPDATE games SET upvotes = v_upvotes, downvotes = v_downvotes WHERE id = v_game;
        CALL enqueue_event(CONCAT('session.', v_session), 'vote.received', 'vote.*',
          CONCAT('{"event":"vote.received","timestamp":"', p_now, '","data":{"sessionId":', v_session,
            ',"game":{"id":', v_game, ',"title":', JSON_QUOTE(v_title), ',"pack_name":', JSON_QUOTE(v_pack),
            '},"vote":', p_vote, ',"totals":{"upvotes":', v_upvotes, ',"downvotes":', v_downvotes,
            ',"popularity_score":', v_upvotes - v_downvotes, '}}}'), NULL, NULL);
        IF p_commit THEN
          COMMIT;
        END IF;
      END IF;
    END IF;
  END IF;
  SELECT v_outcome, v_session, v_games_played, v_game, v_title, v_upvotes, v_downvotes, v_near_ms;
END //

DELIMITER ;
