-- Tasks, their attempts and their events. Times are milliseconds since the Unix epoch, ids 16 bytes.
-- MySQL commits each of these statements by itself, so each must bear being run again.
--
-- state: 0 RECEIVED, 1 PROCESSING, 2 DONE, 3 FAILED, 4 CANCELLED. turn: minus the priority, so that
-- every index ascends (MariaDB before 10.8 has no descending ones). wake_ms: the end of the lease of
-- a PROCESSING task, run_at of a RECEIVED task that must wait, else 0; so a RECEIVED task with
-- wake_ms = 0 may be claimed, and tasks that wait for later are elsewhere in the index task_ready.
-- budget: max_attempts as submitted.
--
-- No foreign keys: a check takes a shared lock on the parent row until COMMIT, so writing an event
-- would stand in the way of whoever moves the task. All rows of a task are written in one
-- transaction by one program, which is what a foreign key would guard.
CREATE TABLE IF NOT EXISTS task (
    id BINARY(16) NOT NULL,
    type VARCHAR(63) NOT NULL,
    queue VARCHAR(63) NOT NULL,
    state TINYINT NOT NULL,
    turn SMALLINT NOT NULL,
    attempt INT NOT NULL DEFAULT 0,
    max_attempts INT NOT NULL,
    budget INT NOT NULL,
    timeout_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    run_at_ms BIGINT NOT NULL,
    wake_ms BIGINT NOT NULL,
    started_ms BIGINT NOT NULL DEFAULT 0,
    finished_ms BIGINT NOT NULL DEFAULT 0,
    progress DOUBLE NOT NULL DEFAULT 0,
    worker VARCHAR(127) NOT NULL DEFAULT '',
    token CHAR(32) NOT NULL DEFAULT '',
    input_name VARCHAR(255) NOT NULL,
    input_key VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    input_size BIGINT NOT NULL,
    input_sha256 CHAR(64) NOT NULL,
    output_key VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
    output_size BIGINT NOT NULL DEFAULT 0,
    output_sha256 CHAR(64) NOT NULL DEFAULT '',
    error_class TINYINT NOT NULL DEFAULT 0,
    error_code VARCHAR(47) NOT NULL DEFAULT '',
    error_message VARCHAR(639) NOT NULL DEFAULT '',
    version BIGINT NOT NULL DEFAULT 1,
    params MEDIUMTEXT,
    result MEDIUMTEXT,
    PRIMARY KEY (id),
    KEY task_state (state, id),
    KEY task_type (type, id),
    KEY task_queue (queue, id),
    KEY task_ready (queue, state, wake_ms, turn, id),
    KEY task_wake (state, wake_ms),
    KEY task_input (input_key),
    KEY task_output (output_key)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- outcome: 0 running, 1 done, 2 failed, 3 released, 4 lost, 5 cancelled. The token stays, so that a
-- repeated report is known as one.
CREATE TABLE IF NOT EXISTS attempt (
    task_id BINARY(16) NOT NULL,
    number INT NOT NULL,
    token CHAR(32) NOT NULL,
    worker VARCHAR(127) NOT NULL,
    started_ms BIGINT NOT NULL,
    ended_ms BIGINT NOT NULL DEFAULT 0,
    outcome TINYINT NOT NULL DEFAULT 0,
    error_class TINYINT NOT NULL DEFAULT 0,
    error_code VARCHAR(47) NOT NULL DEFAULT '',
    error_message VARCHAR(639) NOT NULL DEFAULT '',
    wall_ms BIGINT NOT NULL DEFAULT 0,
    cpu_ms BIGINT NOT NULL DEFAULT 0,
    peak_rss_bytes BIGINT NOT NULL DEFAULT 0,
    exit_code INT NOT NULL DEFAULT 0,
    signal_number INT NOT NULL DEFAULT 0,
    PRIMARY KEY (task_id, number)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- from_state: -1 for the submit.
CREATE TABLE IF NOT EXISTS event (
    seq BIGINT NOT NULL AUTO_INCREMENT,
    task_id BINARY(16) NOT NULL,
    at_ms BIGINT NOT NULL,
    from_state TINYINT NOT NULL,
    to_state TINYINT NOT NULL,
    attempt INT NOT NULL,
    actor VARCHAR(127) NOT NULL,
    detail VARCHAR(639) NOT NULL,
    PRIMARY KEY (seq),
    KEY event_task (task_id, seq)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
