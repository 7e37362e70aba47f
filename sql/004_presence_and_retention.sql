-- Who is in a presence channel, over all relays, and up to which offset a channel's events are no longer kept.

-- One row a running relay, which moves lease_until on. What a relay whose lease has run out left behind is removed by the
-- others.
CREATE TABLE relays (
  id          CHAR(36)    NOT NULL PRIMARY KEY,
  lease_until DATETIME(3) NOT NULL
) ENGINE=InnoDB;

-- A member is a user; it has a row for each relay that holds at least one of its connections. Written under the lock of
-- the channel's row, so that the members and the events that tell of them change together.
CREATE TABLE presence_members (
  channel   VARCHAR(200)  NOT NULL,
  user_id   VARCHAR(200)  NOT NULL,
  relay_id  CHAR(36)      NOT NULL,
  info      VARCHAR(4096) NOT NULL,
  joined_at DATETIME(3)   NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
  PRIMARY KEY (channel, user_id, relay_id),
  KEY presence_members_relay (relay_id)
) ENGINE=InnoDB;

-- A subscriber can resume behind this offset. Of earlier events only those are still there that a webhook delivery, or
-- its log, refers to.
ALTER TABLE channels ADD COLUMN tail BIGINT UNSIGNED NOT NULL DEFAULT 0;

ALTER TABLE chat_messages ADD KEY chat_messages_sent (sent_at);
ALTER TABLE webhook_deliveries ADD KEY webhook_deliveries_finished (finished_at);
