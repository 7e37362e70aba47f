-- Webhooks in full: how each one is sent, the state of its endpoint, recoveries, the phases of an attempt.

-- NULL: the server's own. sealed_headers is a sealed JSON object; header values are often credentials. all_channels = 0:
-- only events about a channel that matches one of webhook_channels.
ALTER TABLE webhooks
  ADD COLUMN method                 VARCHAR(4)     NOT NULL DEFAULT 'POST',
  ADD COLUMN sealed_headers         VARCHAR(12000) NULL,
  ADD COLUMN retry_attempts         INT            NULL,
  ADD COLUMN retry_delay_ms         INT            NULL,
  ADD COLUMN timeout_ms             INT            NULL,
  ADD COLUMN rate_limit             INT            NULL,
  ADD COLUMN concurrency            INT            NOT NULL DEFAULT 1,
  ADD COLUMN all_channels           TINYINT        NOT NULL DEFAULT 1,
  ADD COLUMN previous_sealed_secret VARCHAR(1000)  NULL,
  ADD COLUMN previous_secret_until  DATETIME(3)    NULL;

-- like_pattern is the pattern for LIKE ... ESCAPE '|', which no channel name holds.
CREATE TABLE webhook_channels (
  webhook_id   INT UNSIGNED NOT NULL,
  pattern      VARCHAR(200) NOT NULL,
  like_pattern VARCHAR(400) NOT NULL,
  position     INT          NOT NULL,
  PRIMARY KEY (webhook_id, pattern),
  CONSTRAINT webhook_channels_webhook FOREIGN KEY (webhook_id) REFERENCES webhooks (id) ON DELETE CASCADE
) ENGINE=InnoDB;

-- What is known of an endpoint that has failed at some time. failures: in a row, without a success in between.
CREATE TABLE webhook_health (
  webhook_id    INT UNSIGNED NOT NULL PRIMARY KEY,
  failures      INT          NOT NULL DEFAULT 0,
  failing_since DATETIME(3)  NULL,
  backoff_until DATETIME(3)  NULL,
  last_error    VARCHAR(500) NULL,
  last_error_at DATETIME(3)  NULL
) ENGINE=InnoDB;

-- Queueing failed deliveries again: those with cursor_id < id <= last_id are still to be looked at.
CREATE TABLE webhook_recoveries (
  id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  webhook_id  INT UNSIGNED    NOT NULL,
  since       DATETIME(3)     NOT NULL,
  cursor_id   BIGINT UNSIGNED NOT NULL,
  last_id     BIGINT UNSIGNED NOT NULL,
  total       INT             NOT NULL,
  requeued    INT             NOT NULL DEFAULT 0,
  created_at  DATETIME(3)     NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
  finished_at DATETIME(3)     NULL,
  KEY webhook_recoveries_open (finished_at, id),
  KEY webhook_recoveries_webhook (webhook_id, id)
) ENGINE=InnoDB;

-- base_attempts: those made before the delivery was queued again; its schedule counts from there. due_before: the due time
-- a claim moved away, which a relay that cannot send gives back. lease_token: the number of the sender (below) in the upper 32
-- bits.
ALTER TABLE webhook_queue
  ADD COLUMN base_attempts INT         NOT NULL DEFAULT 0,
  ADD COLUMN due_before    DATETIME(3) NULL;

-- Microseconds; NULL for a phase that did not happen or did not end.
ALTER TABLE webhook_logs
  ADD COLUMN dns_us        INT         NULL,
  ADD COLUMN connect_us    INT         NULL,
  ADD COLUMN tls_us        INT         NULL,
  ADD COLUMN first_byte_us INT         NULL,
  ADD COLUMN peer_address  VARCHAR(64) NULL;

-- The relays that send deliveries; each webhook has one owner among them. A sender also holds a lock of its number's name,
-- which the server takes back when the sender's connection ends. Numbers are never given twice.
CREATE TABLE webhook_senders (
  number      INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  lease_until DATETIME(3)  NOT NULL
) ENGINE=InnoDB;

DROP PROCEDURE enqueue_event;

DELIMITER //

-- The deliveries of an event to the webhooks that want its type, if it is about one of their channels. p_about: NULL for
-- an event that is about none.
CREATE PROCEDURE enqueue_deliveries(
  IN p_event  BIGINT UNSIGNED,
  IN p_type   VARCHAR(100),
  IN p_family VARCHAR(100),
  IN p_about  VARCHAR(200)
) MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
  INSERT INTO webhook_deliveries (event_id, webhook_id)
    SELECT DISTINCT p_event, w.id FROM webhook_patterns p JOIN webhooks w ON w.id = p.webhook_id
    WHERE p.pattern IN (p_type, p_family, '*') AND w.enabled = 1 AND (w.all_channels = 1 OR EXISTS (
      SELECT 1 FROM webhook_channels c WHERE c.webhook_id = w.id AND p_about LIKE c.like_pattern ESCAPE '|'));
  INSERT INTO webhook_queue (delivery_id, webhook_id, due_at)
    SELECT id, webhook_id, UTC_TIMESTAMP(3) FROM webhook_deliveries WHERE event_id = p_event;
END //

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
      CALL enqueue_deliveries(v_event, p_type, p_family, p_channel);
    END IF;
  ELSEIF p_webhook > 0 THEN
    SET v_wanted = 1;
    INSERT INTO webhook_deliveries (event_id, webhook_id) VALUES (v_event, p_webhook);
    INSERT INTO webhook_queue (delivery_id, webhook_id, due_at) VALUES (LAST_INSERT_ID(), p_webhook, UTC_TIMESTAMP(3));
  END IF;
  IF v_wanted THEN
    DO LAST_INSERT_ID(v_event);
  END IF;
END //

-- An event for webhooks alone, written only when one wants it; in the channel webhook/events, behind the events of all
-- other channels of the transaction. p_about: the channel it tells of, NULL for none.
CREATE PROCEDURE enqueue_webhook_event(
  IN p_about  VARCHAR(200),
  IN p_type   VARCHAR(100),
  IN p_family VARCHAR(100),
  IN p_body   MEDIUMTEXT
) MODIFIES SQL DATA SQL SECURITY INVOKER
BEGIN
  DECLARE v_event BIGINT UNSIGNED;
  IF EXISTS (SELECT 1 FROM webhook_patterns p JOIN webhooks w ON w.id = p.webhook_id
      WHERE p.pattern IN (p_type, p_family, '*') AND w.enabled = 1 AND (w.all_channels = 1 OR EXISTS (
        SELECT 1 FROM webhook_channels c WHERE c.webhook_id = w.id AND p_about LIKE c.like_pattern ESCAPE '|'))) THEN
    CALL enqueue_event('webhook/events', p_type, p_family, p_body, NULL, 0);
    SET v_event = LAST_INSERT_ID();
    CALL enqueue_deliveries(v_event, p_type, p_family, p_about);
  END IF;
END //

DELIMITER ;
