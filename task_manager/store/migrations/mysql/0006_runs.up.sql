-- Runs of pipelines and their steps; a step is done by a task, which names its run. state as in task:
-- a run is 1 to 4, a step 0 to 4. version guards every change of a run and its steps. at_step: index of
-- the step that is to end next, and step is its name. definition is frozen at the start; input may
-- hold secrets, params of a step never do.
CREATE TABLE IF NOT EXISTS run (
    id BINARY(16) NOT NULL,
    name VARCHAR(63) NOT NULL,
    state TINYINT NOT NULL,
    version BIGINT NOT NULL DEFAULT 1,
    is_cancelling TINYINT NOT NULL DEFAULT 0,
    at_step INT NOT NULL DEFAULT 0,
    step VARCHAR(63) NOT NULL,
    step_count INT NOT NULL,
    created_ms BIGINT NOT NULL,
    finished_ms BIGINT NOT NULL DEFAULT 0,
    error_class TINYINT NOT NULL DEFAULT 0,
    error_code VARCHAR(47) NOT NULL DEFAULT '',
    error_message VARCHAR(639) NOT NULL DEFAULT '',
    definition MEDIUMTEXT NOT NULL,
    input MEDIUMTEXT NOT NULL,
    PRIMARY KEY (id),
    KEY run_state (state, id),
    KEY run_name (name, id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS run_step (
    run_id BINARY(16) NOT NULL,
    number INT NOT NULL,
    name VARCHAR(63) NOT NULL,
    state TINYINT NOT NULL DEFAULT 0,
    task_id BINARY(16),
    tries INT NOT NULL DEFAULT 0,
    attempts INT NOT NULL DEFAULT 0,
    started_ms BIGINT NOT NULL DEFAULT 0,
    finished_ms BIGINT NOT NULL DEFAULT 0,
    error_class TINYINT NOT NULL DEFAULT 0,
    error_code VARCHAR(47) NOT NULL DEFAULT '',
    error_message VARCHAR(639) NOT NULL DEFAULT '',
    params MEDIUMTEXT,
    output MEDIUMTEXT,
    PRIMARY KEY (run_id, number)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- from_state: -1 for the start.
CREATE TABLE IF NOT EXISTS run_event (
    seq BIGINT NOT NULL AUTO_INCREMENT,
    run_id BINARY(16) NOT NULL,
    at_ms BIGINT NOT NULL,
    from_state TINYINT NOT NULL,
    to_state TINYINT NOT NULL,
    step VARCHAR(63) NOT NULL,
    actor VARCHAR(127) NOT NULL,
    detail VARCHAR(639) NOT NULL,
    PRIMARY KEY (seq),
    KEY run_event_run (run_id, seq)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Runs that have to be looked at: written in the transaction in which a step's task ends (id is that
-- task's) or a run is told to end (id is the run's), removed in the one that draws the conclusion.
-- Mostly empty.
CREATE TABLE IF NOT EXISTS run_mark (
    id BINARY(16) NOT NULL,
    run_id BINARY(16) NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

SET @segue = (SELECT IF(COUNT(*) = 0, 'ALTER TABLE task ADD COLUMN run_id BINARY(16)', 'DO 0')
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'task' AND column_name = 'run_id');
PREPARE segue FROM @segue;
EXECUTE segue;
DEALLOCATE PREPARE segue;
