ALTER TABLE task DROP COLUMN run_id;
DROP TABLE run_mark;
DROP TABLE run_event;
DROP TABLE run_step;
DROP TABLE run;
