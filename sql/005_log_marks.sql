-- Written by relays for the sake of their COMMIT alone, which flushes the log up to everything that was visible before.
CREATE TABLE log_marks (
  id   INT UNSIGNED    NOT NULL PRIMARY KEY,
  mark BIGINT UNSIGNED NOT NULL
) ENGINE=InnoDB;
