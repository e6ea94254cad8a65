-- Crashed attempts since the submit or the last retry by hand: a task that kills its process again
-- and again is poison. MySQL has no ADD COLUMN IF NOT EXISTS, and this must bear being run again.
SET @segue = (SELECT IF(COUNT(*) = 0, 'ALTER TABLE task ADD COLUMN crashes INT NOT NULL DEFAULT 0', 'DO 0')
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'task' AND column_name = 'crashes');
PREPARE segue FROM @segue;
EXECUTE segue;
DEALLOCATE PREPARE segue;
