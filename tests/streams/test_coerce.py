"""Text as written → typed values: spellings met in the field, and what cannot be read."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datarail.contract import Resource
from streams.clean import Cleaner
from tests.streams.cars import NOW, car


def clean(kind: str, *values: str | None, **item: Any) -> tuple[list[Any], list[list[tuple[str, str]]]]:
    """Cleaned values, and by row (rule, severity) of the findings."""
    resource = Resource.model_validate({"table": "t", "items": {"x": {"type": kind, **item}}})
    batch = Cleaner(resource).clean(car([{"x": value} for value in values]), NOW).batch
    found = [orjson.loads(text) if text else [] for text in batch.column("_findings").to_pylist()]
    return batch.column("x").to_pylist(), [
        [(each["rule"], each["severity"]) for each in row] for row in found
    ]


HARD, SOFT = [("type", "hard")], [("type", "soft")]
DAY = date(2020, 1, 31)
NOON = datetime(2020, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value", "cleaned", "found"),
    [
        ("date", "2020-01-31", DAY, []),
        ("date", "20200131", DAY, []),
        ("date", "2020/1/31", DAY, []),
        ("date", "2020.01.31", DAY, []),
        ("date", "2020年1月31日", DAY, []),
        ("date", "２０２０－０１－３１", DAY, []),
        ("date", " 2020-1-31 ", DAY, []),
        ("date", "2020-01-31 00:00:00", DAY, []),
        ("date", "2020-01-30 16:00:00+00", DAY, []),
        ("date", "2020-02-30", None, HARD),
        ("date", "不详", None, HARD),
        ("date", "infinity", None, SOFT),
        ("date", "0000-00-00", None, SOFT),
        ("date", "0001-01-01", None, SOFT),
        ("date", "2400-01-01", None, SOFT),
        ("date", "0044-03-15 BC", None, HARD),
        ("date", "", None, []),
        ("timestamp", "2020-01-31 12:00:00+00", NOON, []),
        ("timestamp", "2020-01-31 12:00:00.000001+00", NOON.replace(microsecond=1), []),
        ("timestamp", "2020-01-31 20:00:00+08", NOON, []),
        ("timestamp", "2020-01-31T12:00:00Z", NOON, []),
        ("timestamp", "2020-01-31T20:00:00.000+08:00", NOON, []),
        ("timestamp", "2020-01-31 20:00:00", NOON, []),
        ("timestamp", "2020/1/31 20:00:00", NOON, []),
        ("timestamp", "20200131200000", NOON, []),
        ("timestamp", "2020年1月31日 20:00:00", NOON, []),
        ("timestamp", "2020-01-31", datetime(2020, 1, 30, 16, tzinfo=UTC), []),
        ("timestamp", "-infinity", None, SOFT),
        ("timestamp", "0000-00-00 00:00:00", None, SOFT),
        ("timestamp", "昨天", None, HARD),
        ("integer", "12", 12, []),
        ("integer", "-9223372036854775808", -(2**63), []),
        ("integer", " １２ ", 12, []),
        ("integer", "1,234", 1234, []),
        ("integer", "12.00", 12, []),
        ("integer", "12.5", None, HARD),
        ("integer", "9223372036854775808", None, HARD),
        ("integer", "一", None, HARD),
        ("decimal", "12.30", Decimal("12.30"), []),
        ("decimal", "１２．３", Decimal("12.30"), []),
        ("decimal", "1,234.5", Decimal("1234.50"), []),
        ("decimal", "1.100", Decimal("1.10"), []),
        ("decimal", "1.016", Decimal("1.02"), SOFT),
        ("decimal", "NaN", None, SOFT),
        ("decimal", "约5元", None, HARD),
        ("decimal", "99999999999999999", None, HARD),
        ("float", "1.5", 1.5, []),
        ("float", "1e3", 1000.0, []),
        ("float", "NaN", None, SOFT),
        ("float", "Infinity", None, SOFT),
        ("float", "1e999", None, HARD),
        ("boolean", "t", True, []),
        ("boolean", "f", False, []),
        ("boolean", "是", True, []),
        ("boolean", "否", False, []),
        ("boolean", "Y", True, []),
        ("boolean", "0", False, []),
        ("boolean", "也许", None, HARD),
        ("string", "  张 三 ", "张 三", []),
        ("string", "\u3000张三\u3000", "张三", []),
        ("string", "ＡＢＣ公司", "ＡＢＣ公司", []),
        ("string", "   ", None, []),
        ("json", ' {"a": 1}', ' {"a": 1}', []),
        ("bytes", "\\x00ff", "\\x00ff", []),
    ],
)
def test_spellings(kind: str, value: str, cleaned: Any, found: list[tuple[str, str]]) -> None:
    extra = {"precision": 18, "scale": 2} if kind == "decimal" else {}
    assert clean(kind, value, **extra) == ([cleaned], [found])


def test_the_odd_ones_do_not_touch_the_others() -> None:
    values, found = clean("date", "2020-01-31", "20200131", None, "x", "2020-01-31")
    assert values == [DAY, DAY, None, None, DAY]
    assert found == [[], [], [], HARD, []]


def test_codes_map_the_sources_spellings() -> None:
    codes = {"男": "1", "女": "2", "Ｍ": "1"}
    values, found = clean("string", "男", " 女 ", "M", "1", None, "妖", codes=codes)
    assert values == ["1", "2", "1", "1", None, "妖"]
    assert found == [[], [], [], [], [], [("codes", "soft")]]


def test_codes_before_types() -> None:
    assert clean("integer", "男", "女", "2", codes={"男": "1", "女": "2"})[0] == [1, 2, 2]
    assert clean("boolean", "在册", "注销", codes={"在册": "t", "注销": "f"})[0] == [True, False]


@settings(deadline=None)
@given(st.dates(date(1900, 1, 1), date(2299, 12, 31)))
def test_every_day_in_every_spelling(day: date) -> None:
    y, m, d = day.year, day.month, day.day
    spellings = [f"{y}-{m:02}-{d:02}", f"{y}{m:02}{d:02}", f"{y}/{m}/{d}", f"{y}年{m}月{d}日", f"{y}-{m}-{d}"]
    assert clean("date", *spellings) == ([day] * 5, [[]] * 5)


@settings(deadline=None)
@given(
    st.lists(
        st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12)
    )
)
def test_decimals_are_exact(values: list[Decimal]) -> None:
    texts = [f"{value:f}" for value in values]
    assert clean("decimal", *texts, precision=18, scale=4) == (values, [[]] * len(values)) if values else True


@settings(deadline=None)
@given(
    st.lists(st.text(max_size=30), min_size=1, max_size=20),
    st.sampled_from(["integer", "decimal", "float", "boolean", "date", "timestamp", "string"]),
)
def test_no_text_is_too_odd(values: list[str], kind: str) -> None:
    cleaned, found = clean(kind, *values)
    if kind != "string":
        # Nothing becomes null without a word, unless it was blank.
        assert all(
            value is not None or says or not text.strip() or text.isspace() or _blank(text)
            for text, value, says in zip(values, cleaned, found, strict=True)
        )


def _blank(text: str) -> bool:
    import polars as pl

    from streams.rules.half_width import half_width

    return half_width(pl.Series([text]))[0] == ""
