-- Every common type, as written: nothing is lost, nothing is made prettier.
CREATE TYPE mood AS ENUM ('sad', 'ok', '高兴');
CREATE TYPE pair AS (a integer, b text);
CREATE DOMAIN code AS varchar(6) CHECK (value <> '');
CREATE TABLE kinds (
    id integer PRIMARY KEY, small smallint, big bigint, num numeric, money_ money, price numeric(12, 2),
    f4 real, f8 double precision, yes boolean, ch char(5), vc varchar(20), txt text, day date, at timestamp,
    atz timestamptz, clock time, clockz timetz, span interval, bin bytea, ints integer[], texts text[],
    enum_ mood, js json, jb jsonb, uid uuid, addr inet, net cidr, pt point, poly polygon, rng int4range,
    bits bit(4), comp pair, dom code, ts tsvector
);
INSERT INTO kinds VALUES (1, -32768, 9223372036854775807, 'NaN', '-12345.67', 1.5, 'Infinity', 0.1, true, 'ab', '',
    E'two\nlines\t"quoted", back\\slash', 'infinity', '1999-12-31 23:59:59.123456', '2024-02-29 08:00:00+08', '24:00',
    '12:00+08', '1 year 2 mons -3 days 04:05:06.7', '\x00ff5c', '{1,NULL,3}', '{"a,b","c\"d",NULL,""}', '高兴',
    '{"a": 1,  "a": 2}', '{"b": 1, "a": [null]}', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '10.0.0.1', '10.0.0.0/8',
    '(1.5,-2)', '((0,0),(1,1),(1,0))', '[1,5)', '1010', '(1,"x y")', '330602', 'fat:1 cat:2');
-- stream
INSERT INTO kinds SELECT 2, small, big, num, money_, price, f4, f8, yes, ch, vc, txt, day, at, atz, clock, clockz, span,
    bin, ints, texts, enum_, js, jb, uid, addr, net, pt, poly, rng, bits, comp, dom, ts FROM kinds;
INSERT INTO kinds (id, num, f8, day, at, yes) VALUES (3, '1e400', '-Infinity', '-infinity', '0044-03-15 00:00 BC', false);
