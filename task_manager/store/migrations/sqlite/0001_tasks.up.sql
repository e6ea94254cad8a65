-- Tasks, their attempts and their events. Times are milliseconds since the Unix epoch, ids 16 bytes.
-- state: 0 RECEIVED, 1 PROCESSING, 2 DONE, 3 FAILED, 4 CANCELLED. turn: minus the priority, so that
-- every index ascends. wake_ms: the end of the lease of a PROCESSING task, run_at of a RECEIVED task
-- that must wait, else 0; so a RECEIVED task with wake_ms = 0 may be claimed, and tasks that wait
-- for later are in another index than those. budget: max_attempts as submitted.
CREATE TABLE task (
    id BLOB NOT NULL PRIMARY KEY,
    type TEXT NOT NULL,
    queue TEXT NOT NULL,
    state INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    budget INTEGER NOT NULL,
    timeout_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    run_at_ms INTEGER NOT NULL,
    wake_ms INTEGER NOT NULL,
    started_ms INTEGER NOT NULL DEFAULT 0,
    finished_ms INTEGER NOT NULL DEFAULT 0,
    progress REAL NOT NULL DEFAULT 0,
    worker TEXT NOT NULL DEFAULT '',
    token TEXT NOT NULL DEFAULT '',
    input_name TEXT NOT NULL,
    input_key TEXT NOT NULL,
    input_size INTEGER NOT NULL,
    input_sha256 TEXT NOT NULL,
    output_key TEXT NOT NULL DEFAULT '',
    output_size INTEGER NOT NULL DEFAULT 0,
    output_sha256 TEXT NOT NULL DEFAULT '',
    error_class INTEGER NOT NULL DEFAULT 0,
    error_code TEXT NOT NULL DEFAULT '',
    error_message TEXT NOT NULL DEFAULT '',
    version INTEGER NOT NULL DEFAULT 1,
    params TEXT,
    result TEXT
) STRICT;

-- lists, newest first
CREATE INDEX task_state ON task (state, id);
CREATE INDEX task_type ON task (type, id);
CREATE INDEX task_queue ON task (queue, id);
-- claims; tasks whose time has come; leases that ran out
CREATE INDEX task_ready ON task (queue, turn, id) WHERE state = 0 AND wake_ms = 0;
CREATE INDEX task_delayed ON task (wake_ms) WHERE state = 0 AND wake_ms > 0;
CREATE INDEX task_lease ON task (wake_ms) WHERE state = 1;
-- is a file named by a task?
CREATE INDEX task_input ON task (input_key) WHERE input_key <> '';
CREATE INDEX task_output ON task (output_key) WHERE output_key <> '';

-- outcome: 0 running, 1 done, 2 failed, 3 released, 4 lost, 5 cancelled. The token stays, so that a
-- repeated report is known as one.
CREATE TABLE attempt (
    task_id BLOB NOT NULL REFERENCES task (id),
    number INTEGER NOT NULL,
    token TEXT NOT NULL,
    worker TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    ended_ms INTEGER NOT NULL DEFAULT 0,
    outcome INTEGER NOT NULL DEFAULT 0,
    error_class INTEGER NOT NULL DEFAULT 0,
    error_code TEXT NOT NULL DEFAULT '',
    error_message TEXT NOT NULL DEFAULT '',
    wall_ms INTEGER NOT NULL DEFAULT 0,
    cpu_ms INTEGER NOT NULL DEFAULT 0,
    peak_rss_bytes INTEGER NOT NULL DEFAULT 0,
    exit_code INTEGER NOT NULL DEFAULT 0,
    signal INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (task_id, number)
) STRICT, WITHOUT ROWID;

-- from_state: -1 for the submit. AUTOINCREMENT: a number is never used twice.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id BLOB NOT NULL REFERENCES task (id),
    at_ms INTEGER NOT NULL,
    from_state INTEGER NOT NULL,
    to_state INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    actor TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE INDEX event_task ON event (task_id, seq);
