SET @segue = (SELECT IF(COUNT(*) = 1, 'ALTER TABLE task DROP COLUMN crashes', 'DO 0')
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'task' AND column_name = 'crashes');
PREPARE segue FROM @segue;
EXECUTE segue;
DEALLOCATE PREPARE segue;
