SET @segue = (SELECT IF(COUNT(*) = 1, 'ALTER TABLE task DROP COLUMN run_id', 'DO 0')
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'task' AND column_name = 'run_id');
PREPARE segue FROM @segue;
EXECUTE segue;
DEALLOCATE PREPARE segue;
DROP TABLE IF EXISTS run_mark;
DROP TABLE IF EXISTS run_event;
DROP TABLE IF EXISTS run_step;
DROP TABLE IF EXISTS run;
