-- Crashed attempts since the submit or the last retry by hand: a task that kills its process again
-- and again is poison.
ALTER TABLE task ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
