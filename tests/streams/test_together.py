"""Cars of several resources cleaned together come to what each comes to by itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datarail.contract import Resource
from streams.clean import Cleaned, Cleaner, clean_together
from streams.kind import Kind
from tests.streams.cars import GOOD, NOW, PERSON, car
from tests.streams.test_few import FIRM, PERSONS, RIGHT, cars, small

Values = dict[str, list[str | None]]


def renamed(resource: Resource, values: Values) -> tuple[Resource, Values]:
    """The same items by other names and titles, the last one first."""
    about = resource.model_dump()
    items = {}
    for name, item in reversed(about["items"].items()):
        checks = [
            check
            | {field: "z" + check[field] for field in ("sex", "birth", "other") if _is_item(check, field)}
            for check in item["checks"]
        ]
        items["z" + name] = item | {"title": "别名" + name, "checks": checks}
    about |= {"items": items, "key": ["z" + item for item in resource.key]}
    about["only"] = {"z" + item: wanted for item, wanted in resource.only.items()}
    return Resource.model_validate(about), {"z" + name: values[name] for name in reversed(values)}


def _is_item(check: dict[str, Any], field: str) -> bool:
    return check.get(field) not in (None, "now")


RESOURCES = [(PERSON, PERSONS), (FIRM, RIGHT), renamed(PERSON, PERSONS), renamed(FIRM, RIGHT)]


@st.composite
def several(draw: st.DrawFn) -> list[tuple[Resource, Any]]:
    made = []
    for resource, values in draw(st.lists(st.sampled_from(RESOURCES), min_size=1, max_size=5)):
        gone = draw(st.sampled_from([None, None, None, *resource.items]))
        left = {name: told for name, told in values.items() if name != gone}
        rows = draw(cars(left, right_first=draw(st.booleans())))
        made.append((resource, small(rows, tuple(left)).batch()))
    return made


def same(one: Cleaned, other: Cleaned) -> None:
    assert one.batch.schema.equals(other.batch.schema)
    for name in one.batch.schema.names:
        assert one.batch.column(name).to_pylist() == other.batch.column(name).to_pylist(), name
    # Not a number is not equal to itself.
    assert one.frame.schema == other.frame.schema
    assert [str(row) for row in one.frame.rows()] == [str(row) for row in other.frame.rows()]
    assert (one.filtered, one.missing, one.held_by_rule) == (
        other.filtered,
        other.missing,
        other.held_by_rule,
    )
    assert one.findings.held.tolist() == other.findings.held.tolist()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(several())
def test_together_is_as_alone(made: list[tuple[Resource, Any]]) -> None:
    together = clean_together([(Cleaner(resource), batch) for resource, batch in made], NOW)
    for (resource, batch), cleaned in zip(made, together, strict=True):
        same(cleaned, Cleaner(resource).clean(batch, NOW))


def test_items_described_alike_are_of_one_kind_whatever_they_are_called() -> None:
    other, _ = renamed(PERSON, PERSONS)
    for name in PERSON.items:
        assert Kind(name, PERSON.items).signature == Kind("z" + name, other.items).signature
    kinds = [Kind(name, PERSON.items).signature for name in PERSON.items]
    assert len(set(kinds)) == len(kinds)  # each item of this one is of a kind of its own


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "timestamp"},
        {"codes": {"a": "1"}},
        {"checks": ["required"]},
        {"checks": [{"check": "not_after", "severity": "soft"}]},
        {"checks": [{"check": "not_after", "other": "day"}]},
        {"checks": [{"check": "not_after", "other": "moment"}]},
    ],
)
def test_what_is_described_otherwise_is_of_another_kind(changed: dict[str, Any]) -> None:
    def kind(**more: Any) -> bytes:
        about = {"type": "date", "checks": ["not_after"]} | more
        items = {"x": about, "day": {"type": "date"}, "moment": {"type": "timestamp"}}
        return Kind("x", Resource.model_validate({"table": "t", "items": items}).items).signature

    assert kind() == kind(title="别的", meaning="m", grade="L4")
    assert kind() != kind(**changed)


def test_what_is_wrong_is_told_by_each_tables_own_names() -> None:
    other, _ = renamed(PERSON, PERSONS)
    bad = GOOD | {"citizen_id": "11010519491231002X", "sex": "男", "birth": "1950-01-01"}
    mine = car([GOOD, bad])
    theirs = car([{"z" + name: value for name, value in row.items()} for row in (bad, GOOD)])
    one, two = clean_together([(Cleaner(PERSON), mine), (Cleaner(other), theirs)], NOW)
    assert [found["message"] for found in one.findings.of(1)] == [
        "“公民身份号码”第17位（奇数为男、偶数为女）与“性别”不一致，两者应当相符",
        "“公民身份号码”中的出生日期与“出生日期”不一致，两者应当相符",
    ]
    assert [(found["item"], found["message"]) for found in two.findings.of(0)] == [
        ("zcitizen_id", "“别名citizen_id”第17位（奇数为男、偶数为女）与“别名sex”不一致，两者应当相符"),
        ("zcitizen_id", "“别名citizen_id”中的出生日期与“别名birth”不一致，两者应当相符"),
    ]
    assert not one.findings.of(0) and not two.findings.of(1)
