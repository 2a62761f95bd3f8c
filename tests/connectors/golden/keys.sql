-- Keys that change, composite keys, quoted and Chinese names, a delete, a truncate.
CREATE TABLE "户成员 Member" ("户号" varchar(20), "Nr" smallint, "姓名" text, PRIMARY KEY ("户号", "Nr"));
INSERT INTO "户成员 Member" VALUES ('H"1', 1, '张三');
-- stream
BEGIN;
INSERT INTO "户成员 Member" VALUES ('H2', 1, '李四');
UPDATE "户成员 Member" SET "Nr" = 9 WHERE "户号" = 'H"1';
COMMIT;
UPDATE "户成员 Member" SET "姓名" = NULL WHERE "户号" = 'H2';
DELETE FROM "户成员 Member" WHERE "户号" = 'H2';
TRUNCATE "户成员 Member";
