-- What has to be told to the broker, and what clients may ask twice. An outbox row lives until the
-- broker confirmed it; due_ms moves forward while a relay holds it.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    due_ms INTEGER NOT NULL,
    task_id BLOB NOT NULL,
    type TEXT NOT NULL,
    queue TEXT NOT NULL,
    attempt INTEGER NOT NULL
) STRICT;

CREATE INDEX outbox_due ON outbox (due_ms, seq);

CREATE TABLE idempotency (
    client TEXT NOT NULL,
    idem_key TEXT NOT NULL,
    request_sha256 TEXT NOT NULL,
    task_id BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (client, idem_key)
) STRICT;

CREATE INDEX idempotency_created ON idempotency (created_ms);
