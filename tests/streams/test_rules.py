"""Each rule through the cleaning it is part of: what fails, how hard, and what the clerk is told."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from datarail.contract import AnyCheck, Resource
from datarail.errors import ContractError
from streams.clean import Cleaner
from streams.rules import BUILDERS
from tests.streams.cars import NOW, car


def judge(
    value: str | None, checks: list[Any], other: str | None = None, **item: Any
) -> list[dict[str, str]]:
    """The findings on one value of an item with these checks; `other` is the item beside it."""
    resource = Resource.model_validate(
        {
            "table": "t",
            "items": {
                "x": {"title": "项", "checks": checks, **item},
                "other": {"type": "date", "title": "另一项"},
            },
        }
    )
    cleaned = Cleaner(resource).clean(car([{"x": value, "other": other}]), NOW)
    text = cleaned.batch.column("_findings")[0].as_py()
    return orjson.loads(text) if text else []


def rules(
    value: str | None, checks: list[Any], other: str | None = None, **item: Any
) -> list[tuple[str, str]]:
    return [(found["rule"], found["severity"]) for found in judge(value, checks, other, **item)]


def test_every_check_of_a_contract_has_its_rule() -> None:
    names = {
        schema["properties"]["check"]["const"]
        for schema in TypeAdapter(AnyCheck).json_schema()["$defs"].values()
    }
    assert names == set(BUILDERS)


@pytest.mark.parametrize(
    ("value", "check", "found"),
    [
        (None, "required", [("required", "hard")]),
        ("  ", "required", [("required", "hard")]),
        ("x", "required", []),
        (None, {"check": "length", "min": 2}, []),
        ("张", {"check": "length", "min": 2, "max": 3}, [("length", "hard")]),
        ("张三丰", {"check": "length", "min": 2, "max": 3}, []),
        ("𠮷𠮷𠮷𠮷", {"check": "length", "max": 3, "severity": "soft"}, [("length", "soft")]),
        ("A-12", {"check": "pattern", "regex": "[A-Z]-[0-9]+"}, []),
        ("xA-12", {"check": "pattern", "regex": "[A-Z]-[0-9]+"}, [("pattern", "hard")]),
        ("1", {"check": "one_of", "values": ["1", "2"]}, []),
        ("3", {"check": "one_of", "values": ["1", "2"]}, [("one_of", "hard")]),
        ("1", "sex", []),
        ("3", "sex", [("sex", "hard")]),
        ("１", "sex", [("sex", "soft")]),
        ("330602", "division", []),
        ("990602", "division", [("division", "soft")]),
        ("3306", "division", [("division", "soft")]),
        ("13800138000", "mobile", []),
        ("+86 138-0013-8000", "mobile", [("mobile", "soft")]),
        ("23800138000", "mobile", [("mobile", "soft")]),
        ("91110000600037341L", "credit_code", []),
        ("91110000600037341l", "credit_code", [("credit_code", "soft")]),
        ("91110000600037342L", "credit_code", [("credit_code", "hard")]),
        ("11010519491231002X", "citizen_id", []),
        ("11010519491231002x", "citizen_id", [("citizen_id", "soft")]),
        ("１１０１０５１９４９１２３１００２Ｘ", "citizen_id", [("citizen_id", "soft")]),
        (" 110105 19491231 002X ", "citizen_id", [("citizen_id", "soft")]),
        ("110105491231002", "citizen_id", [("citizen_id", "soft")]),
        ("110105194912310021", "citizen_id", [("citizen_id", "hard")]),
        ("110105194912310021", {"check": "citizen_id", "severity": "soft"}, [("citizen_id", "soft")]),
    ],
)
def test_text(value: str | None, check: Any, found: list[tuple[str, str]]) -> None:
    assert rules(value, [check]) == found


@pytest.mark.parametrize(
    ("kind", "value", "check", "found"),
    [
        ("integer", "5", {"check": "range", "min": 1, "max": 5}, []),
        ("integer", "6", {"check": "range", "min": 1, "max": 5}, [("range", "hard")]),
        ("decimal", "0.001", {"check": "range", "min": 0}, []),
        ("decimal", "-0.001", {"check": "range", "min": 0}, [("range", "hard")]),
        ("date", "2020-01-31", {"check": "range", "min": "2020-02-01"}, [("range", "hard")]),
        ("date", "2020-02-01", {"check": "range", "min": "2020-02-01"}, []),
        ("timestamp", "2020-02-01 00:00:00+08", {"check": "range", "min": "2020-02-01"}, []),
        ("timestamp", "2020-01-31 23:59:59+08", {"check": "range", "min": "2020-02-01"}, [("range", "hard")]),
        ("string", "12", {"check": "range", "max": 10}, [("range", "hard")]),
        ("date", "2026-05-20", "not_after", []),
        ("date", "2026-05-21", "not_after", [("not_after", "hard")]),
        ("timestamp", "2026-05-20 04:04:00+00", "not_after", []),
        ("timestamp", "2026-05-20 05:00:00+00", "not_after", [("not_after", "hard")]),
    ],
)
def test_typed(kind: str, value: str, check: Any, found: list[tuple[str, str]]) -> None:
    assert rules(value, [check], type=kind) == found


def test_not_after_another_item() -> None:
    check = {"check": "not_after", "other": "other"}
    assert rules("2020-01-02", [check], "2020-01-01", type="date") == [("not_after", "hard")]
    assert rules("2020-01-02", [check], "2020-01-02", type="date") == []
    assert rules("2020-01-02", [check], None, type="date") == []
    # 17:00 UTC is the next day in China.
    assert rules("2020-01-01 17:00:00+00", [check], "2020-01-01", type="timestamp") == [("not_after", "hard")]


def test_id_against_the_birth_beside_it() -> None:
    found = judge("11010519491231002X", [{"check": "citizen_id", "birth": "other"}], "1949-12-30")
    assert [(each["severity"], each["dimension"]) for each in found] == [("soft", "consistency")]
    assert rules("11010519491231002X", [{"check": "citizen_id", "birth": "other"}], "1949-12-31") == []


def test_a_finding_shows_no_more_than_it_must() -> None:
    found = judge("110105194912310021", ["citizen_id"])[0]
    assert found["value"] == "110105********0021"
    assert found["message"] == "“项”校验码不符，按前17位计算末位应为X，请核对各位数字"
    assert judge("138001380001", ["mobile"])[0]["value"] == "138*****0001"
    assert judge("欧阳锋锋锋", [{"check": "length", "max": 2}], title="姓名")[0]["value"] == "欧****"


def test_a_contract_that_cannot_be_judged_by_is_refused_in_words() -> None:
    with pytest.raises(ContractError, match="pattern"):
        judge("x", [{"check": "pattern", "regex": "(?=x)"}])
    with pytest.raises(ContractError, match="range"):
        judge("2020-01-01", [{"check": "range", "min": "soon"}], type="date")


@settings(deadline=None)
@given(st.lists(st.none() | st.text(max_size=6), max_size=30))
def test_a_column_is_judged_like_its_values_one_by_one(values: list[str | None]) -> None:
    resource = Resource.model_validate(
        {
            "table": "t",
            "items": {"x": {"checks": ["required", {"check": "length", "min": 2, "max": 4}, "sex"]}},
        }
    )
    cleaner = Cleaner(resource)
    rows = [{"x": value} for value in values]
    together = cleaner.clean(car(rows, items=["x"]), NOW).batch
    for number, row in enumerate(rows):
        alone = cleaner.clean(car([row]), NOW).batch
        for name in ("x", "_held", "_findings"):
            assert together.column(name)[number].as_py() == alone.column(name)[0].as_py()
