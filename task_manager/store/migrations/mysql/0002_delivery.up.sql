-- What has to be told to the broker, and what clients may ask twice. An outbox row lives until the
-- broker confirmed it; due_ms moves forward while a relay holds it. Client and key are bytes: the
-- text collations would take 'a' and 'a ' for the same key.
CREATE TABLE IF NOT EXISTS outbox (
    seq BIGINT NOT NULL AUTO_INCREMENT,
    due_ms BIGINT NOT NULL,
    task_id BINARY(16) NOT NULL,
    type VARCHAR(63) NOT NULL,
    queue VARCHAR(63) NOT NULL,
    attempt INT NOT NULL,
    PRIMARY KEY (seq),
    KEY outbox_due (due_ms, seq)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS idempotency (
    client VARBINARY(255) NOT NULL,
    idem_key VARBINARY(255) NOT NULL,
    request_sha256 CHAR(64) NOT NULL,
    task_id BINARY(16) NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (client, idem_key),
    KEY idempotency_created (created_ms)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
