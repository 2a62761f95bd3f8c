-- A column added in mid-stream is carried as written; one dropped is missing from then on.
CREATE TABLE firms (id integer PRIMARY KEY, name text, tel text);
-- stream
INSERT INTO firms VALUES (1, 'a', '1');
BEGIN;
UPDATE firms SET tel = '2';
ALTER TABLE firms ADD COLUMN note text DEFAULT 'n';
UPDATE firms SET tel = '3';
COMMIT;
ALTER TABLE firms DROP COLUMN tel;
UPDATE firms SET name = 'z';
