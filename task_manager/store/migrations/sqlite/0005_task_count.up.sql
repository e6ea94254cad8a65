-- How many tasks there are of each kind (see tally.h): counting the rows of a list takes longer the
-- more tasks have ended.
CREATE TABLE task_count (
    state INTEGER NOT NULL,
    type TEXT NOT NULL,
    queue TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (state, type, queue)
) STRICT, WITHOUT ROWID;

INSERT INTO task_count SELECT state, type, queue, count(*) FROM task GROUP BY state, type, queue;
