"""The SQL that makes rows of the wide tables, check digits and all (GB 11643, GB 32100, GB 11714)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Shape = Literal["resident", "firm", "event"]


def _weighted(weights: Sequence[int], start: int = 0) -> str:
    """SQL for Σ weight × digit over the bytes of b."""
    terms = " + ".join(f"get_byte(b, {start + place}) * {weight}" for place, weight in enumerate(weights))
    return f"({terms} - {48 * sum(weights)})"


_CITIZEN = _weighted([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2])
_ORGANISATION = _weighted([3, 7, 9, 10, 5, 8, 4, 2], start=8)
_CREDIT = _weighted([pow(3, place, 31) for place in range(16)])

#: The SELECT of each shape's rows, to be formatted with first, last, subject, divisions, alphabet,
#: bad. OFFSET 0 keeps the planner from putting an inner expression in wherever its name stands.
SOURCES: dict[Shape, str] = {
    "resident": rf"""
SELECT 'R' || lpad(n::text, 10, '0'),
       body || substr('10X98765432', ({_CITIZEN} + CASE n % {{bad}} WHEN 7 THEN 1 ELSE 0 END) % 11 + 1, 1),
       substr('王李张刘陈杨黄赵周吴徐孙马朱胡郭何林高罗', (n % 20)::int + 1, 1)
           || substr('伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚', (k % 20)::int + 1, 1),
       CASE o % 2 WHEN 1 THEN '1' ELSE '2' END, '01', born,
       substr('10203040', (n % 4)::int * 2 + 1, 2), substr('102030607080', (n % 6)::int * 2 + 1, 2),
       'H' || lpad((n / 3)::text, 10, '0'), d::text,
       '浙江省中兴路' || (k % 899 + 1) || '号' || (n % 40 + 1) || '幢' || (n % 18 + 1) || '01室',
       '正常', now()
FROM (SELECT n, k, o, d, born, body, convert_to(body, 'UTF8') AS b FROM (
      SELECT n, k, o, d, born, d::text || to_char(born, 'YYYYMMDD') || lpad(o::text, 3, '0') AS body FROM (
      SELECT n, k, k / 400000 AS o, (ARRAY[{{divisions}}])[k / 25000 % 16 + 1] AS d,
             date '1935-01-01' + (k % 25000)::int AS born FROM (
      SELECT n, (n + {{subject}}) * 247213597 % 400000000 AS k
      FROM generate_series({{first}}::bigint, {{last}}::bigint) n OFFSET 0) q1 OFFSET 0) q2
      OFFSET 0) q3 OFFSET 0) q4
""",
    "firm": rf"""
SELECT 'F' || lpad(n::text, 10, '0'),
       body || o || substr('{{alphabet}}', ((31 - ({_CREDIT} + CASE o WHEN 'X' THEN 29 ELSE o::int END
           * {pow(3, 16, 31)} + CASE n % {{bad}} WHEN 7 THEN 1 ELSE 0 END) % 31) % 31)::int + 1, 1),
       '绍兴' || substr('越剡鉴会稽甬明东海天润鼎瑞丰泰', (n % 15)::int + 1, 1) || (k % 9000 + 1000)
           || '纺织有限公司',
       '1130', substr('王李张刘陈杨黄赵周吴徐孙马朱胡郭何林高罗', (n % 20)::int + 1, 1) || '建国',
       (k % 5000 + 10)::numeric, date '2000-01-01' + (k % 9000)::int, 'C17', d::text,
       '浙江省人民路' || (k % 899 + 1) || '号', '138' || lpad((k % 100000000)::text, 8, '0'),
       (n % 3 + 1)::text, now()
FROM (SELECT n, k, d, body, b,
             CASE 11 - org % 11 WHEN 10 THEN 'X' WHEN 11 THEN '0' ELSE (11 - org % 11)::text END AS o
      FROM (SELECT n, k, d, body, b, {_ORGANISATION} AS org FROM (
      SELECT n, k, d, body, convert_to(body, 'UTF8') AS b FROM (
      SELECT n, k, d, '91' || d::text || lpad(k::text, 8, '0') AS body FROM (
      SELECT n, k, (ARRAY[{{divisions}}])[k % 16 + 1] AS d FROM (
      SELECT n, (n + {{subject}}) * 61803399 % 100000000 AS k
      FROM generate_series({{first}}::bigint, {{last}}::bigint) n OFFSET 0) q1 OFFSET 0) q2 OFFSET 0) q3
      OFFSET 0) q4 OFFSET 0) q5 OFFSET 0) q6
""",
    "event": """
SELECT n, 'SJ' || lpad((n + {subject})::text, 12, '0'),
       CASE WHEN n % {bad} = 7 THEN NULL
           ELSE (ARRAY['矛盾纠纷','环境卫生','违章搭建','消防隐患','占道经营'])[k % 5 + 1] END,
       '群众反映问题' || n, '网格员巡查发现，已拍照上报，待核实处置。', 'WG' || lpad((n / 13)::text, 8, '0'),
       (ARRAY[{divisions}])[k % 16 + 1]::text, '解放路' || (k % 899 + 1) || '号',
       substr('王李张刘陈杨黄赵周吴徐孙马朱胡郭何林高罗', (n % 20)::int + 1, 1) || '建国',
       '139' || lpad((k % 100000000)::text, 8, '0'),
       timestamptz '2025-01-01' + (k % 20000000) * interval '1 second',
       (ARRAY['处理中','办结','挂起'])[n % 3 + 1], 120 + (k % 100000) / 100000.0
FROM (SELECT n, n * 247213597 % 400000000 AS k
      FROM generate_series({first}::bigint, {last}::bigint) n OFFSET 0) q1
""",
}
