DROP TABLE event;
DROP TABLE attempt;
DROP TABLE task;
