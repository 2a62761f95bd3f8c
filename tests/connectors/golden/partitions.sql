-- A partitioned table is one resource, whichever partition a row is in, moves to, or that is made later.
CREATE TABLE visit (id integer, day date, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE visit_01 PARTITION OF visit FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE visit_02 PARTITION OF visit FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO visit VALUES (1, '2026-01-03', 'first');
-- stream
INSERT INTO visit VALUES (2, '2026-02-03', 'second');
UPDATE visit SET note = 'mended' WHERE id = 1;
UPDATE visit SET day = '2026-01-05' WHERE id = 2;
CREATE TABLE visit_03 (note text, gone text, day date NOT NULL, id integer NOT NULL, PRIMARY KEY (id, day));
ALTER TABLE visit_03 DROP COLUMN gone;
ALTER TABLE visit ATTACH PARTITION visit_03 FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
INSERT INTO visit VALUES (3, '2026-03-03', 'third, in a partition whose columns stand otherwise');
DELETE FROM visit WHERE id = 3;
TRUNCATE visit;
