-- A table without a key: inserts alone are carried, and the department's own updates go on working.
CREATE TABLE visits (at date, who text);
INSERT INTO visits VALUES ('2024-01-01', 'a'), ('2024-01-01', 'a');
-- stream
INSERT INTO visits VALUES ('2024-01-02', NULL);
UPDATE visits SET who = 'b';
DELETE FROM visits;
INSERT INTO visits VALUES ('2024-01-03', '');
