-- How many tasks there are of each kind (see tally.h): counting the rows of a list takes longer the
-- more tasks have ended. Each connection adds to the rows of its shard, so that transactions do not
-- wait for each other; n of one shard may be below zero, the sum over all is the number.
CREATE TABLE IF NOT EXISTS task_count (
    shard TINYINT NOT NULL,
    state TINYINT NOT NULL,
    type VARCHAR(63) NOT NULL,
    queue VARCHAR(63) NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (shard, state, type, queue)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

REPLACE INTO task_count
    SELECT 0, state, type, queue, COUNT(*) FROM task GROUP BY state, type, queue;
