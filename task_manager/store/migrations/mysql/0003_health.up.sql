-- One row that the health check writes: only a write proves that writing works.
CREATE TABLE IF NOT EXISTS health (
    id INT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT IGNORE INTO health VALUES (1, 0);
