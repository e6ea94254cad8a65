-- Runs of pipelines and their steps; a step is done by a task, which names its run. state as in task:
-- a run is 1 to 4, a step 0 to 4. version guards every change of a run and its steps. at: index of the
-- step that is to end next, and step is its name. definition is frozen at the start; input may hold
-- secrets, params of a step never do.
CREATE TABLE run (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    state INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    is_cancelling INTEGER NOT NULL DEFAULT 0,
    at INTEGER NOT NULL DEFAULT 0,
    step TEXT NOT NULL,
    step_count INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    finished_ms INTEGER NOT NULL DEFAULT 0,
    error_class INTEGER NOT NULL DEFAULT 0,
    error_code TEXT NOT NULL DEFAULT '',
    error_message TEXT NOT NULL DEFAULT '',
    definition TEXT NOT NULL,
    input TEXT NOT NULL
) STRICT;

CREATE INDEX run_state ON run (state, id);
CREATE INDEX run_name ON run (name, id);

CREATE TABLE run_step (
    run_id BLOB NOT NULL REFERENCES run (id),
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    task_id BLOB,
    tries INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    started_ms INTEGER NOT NULL DEFAULT 0,
    finished_ms INTEGER NOT NULL DEFAULT 0,
    error_class INTEGER NOT NULL DEFAULT 0,
    error_code TEXT NOT NULL DEFAULT '',
    error_message TEXT NOT NULL DEFAULT '',
    params TEXT,
    output TEXT,
    PRIMARY KEY (run_id, number)
) STRICT, WITHOUT ROWID;

-- from_state: -1 for the start. AUTOINCREMENT: a number is never used twice.
CREATE TABLE run_event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id BLOB NOT NULL REFERENCES run (id),
    at_ms INTEGER NOT NULL,
    from_state INTEGER NOT NULL,
    to_state INTEGER NOT NULL,
    step TEXT NOT NULL,
    actor TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE INDEX run_event_run ON run_event (run_id, seq);

-- Runs that have to be looked at: written in the transaction in which a step's task ends (id is that
-- task's) or a run is told to end (id is the run's), removed in the one that draws the conclusion.
-- Mostly empty.
CREATE TABLE run_mark (
    id BLOB NOT NULL PRIMARY KEY,
    run_id BLOB NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE task ADD COLUMN run_id BLOB;
