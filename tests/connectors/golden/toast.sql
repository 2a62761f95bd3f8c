-- A long value stored apart is not sent when it does not change: unchanged is not null.
CREATE TABLE scopes (id integer PRIMARY KEY, name text, scope text);
ALTER TABLE scopes ALTER COLUMN scope SET STORAGE EXTERNAL;
CREATE TABLE full_scopes (id integer PRIMARY KEY, name text, scope text);
ALTER TABLE full_scopes ALTER COLUMN scope SET STORAGE EXTERNAL;
ALTER TABLE full_scopes REPLICA IDENTITY FULL;
-- stream
INSERT INTO scopes VALUES (1, 'a', repeat('x', 3000));
UPDATE scopes SET name = 'b';
UPDATE scopes SET scope = NULL;
INSERT INTO full_scopes VALUES (1, 'a', repeat('y', 3000));
UPDATE full_scopes SET name = 'b';
DELETE FROM full_scopes;
