-- One row that the health check writes: only a write proves that writing works.
CREATE TABLE health (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL
) STRICT;

INSERT INTO health VALUES (1, 0);
