"""A handful of rows cleaned one by one is what the same car comes to in the vectorised way."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datarail.contract import Resource
from datarail.small_car import SmallCar, shape
from streams.clean import Cleaner
from streams.envelope import Envelope
from streams.few import FewCleaner, as_written, moments
from streams.quarantine import held_few, held_records
from streams.rules.credit_code import check_character
from streams.rules.pattern import is_plain
from streams.unchanged import unchanged_items
from tests.streams.cars import COMMIT, GOOD, NOW, PERSON

CODE = "91330600MA2BD3XK0" + check_character("91330600MA2BD3XK0")

FIRM = Resource.model_validate(
    {
        "table": "public.firm",
        "key": ["code", "branch"],
        "only": {"kept": ["1", "2"]},
        "items": {
            "code": {"checks": ["required", "credit_code"]},
            "branch": {"type": "integer", "checks": [{"check": "range", "min": 0, "max": 500}]},
            "kept": {},
            "kind": {
                "codes": {"企业": "1", "个体": "2", "农专": "3"},
                "checks": [{"check": "one_of", "values": ["1", "2"]}],
            },
            "level": {"type": "integer", "codes": {"高": "3", "低": "1"}},
            "capital": {
                "type": "decimal",
                "precision": 6,
                "scale": 2,
                "checks": [{"check": "range", "min": 0}],
            },
            "share": {"type": "float", "checks": [{"check": "range", "min": 0, "max": 1}]},
            "open": {"type": "boolean"},
            "since": {"type": "date", "checks": [{"check": "not_after", "other": "until"}]},
            "until": {
                "type": "date",
                "checks": [{"check": "range", "min": "1950-01-01", "max": "2100-12-31"}],
            },
            "seen": {"type": "timestamp", "checks": ["not_after"]},
            "phone": {"checks": [{"check": "pattern", "regex": r"0\d{2,3}-[0-9]{7,8}"}]},
            "short": {"checks": [{"check": "length", "max": 3, "severity": "soft"}]},
            "_more": {"type": "json"},
        },
    }
)
RIGHT: dict[str, list[str | None]] = {
    "code": [CODE, "91330600MA2BD3XK0P", "91330600ma2bd3xk0p", "0"],
    "branch": ["0", "7", "-0", "007"],
    "kept": ["1", "2", "3", None],
    "kind": ["企业", "个体", "1", "农专", "企业 ", "别的", "", None],
    "level": ["高", "2", " 高", "中", "", None],
    "capital": ["12.5", "0", "-0.00", "9999.99", "10000", "1.005", "01.5", "1e3", "-3", "", "1,000", None],
    "share": ["0.25", "1", "-0", "1e-5", "nan", "0.1234567890123", "x", "2", None],
    "open": ["t", "f", "是", "", None],
    "since": ["2020-01-31", "2020-02-30", "1899-12-31", "20200131", "2020-01-31 00:00:00", "", None],
    "until": ["2021-01-31", "2019-01-01", "1949-10-01", None],
    "seen": [
        *("2024-05-03 10:11:12+00", "2024-05-03 10:11:12.5+00", "2024-05-03 10:11:12.123456+08"),
        *(
            "2024-05-03 10:11:12",
            "2024-05-03T10:11:12+00",
            "2024-05-03 24:00:00+00",
            "2024-13-03 10:11:12+00",
        ),
        *("1899-05-03 10:11:12+00", "2026-05-20 03:59:59+00", "2026-05-20 04:03:00+00", "infinity", "", None),
    ],
    "phone": ["0575-1234567", "010-12345678", "1234", "０575-1234567", None],
    "short": ["一二三", "abcd", " a", "　", "a\x1f", 'q"\\', "\x85", None],
    "_more": ['{"a": 1}', " x ", "", None],
}
PERSONS: dict[str, list[str | None]] = {
    **{item: [value] for item, value in GOOD.items()},
    "citizen_id": ["11010519491231002X", "11010519491231002x", "110105194912310021", "130503670401001", None],
    "name": ["张三丰", " 张三丰", "", None],
    "sex": ["女", "男", "2", "9", "女性", None],
    "birth": ["1949-12-31", "1949-12-30", "2026-05-21", None],
    "division": ["330602", "990602", "３３０602", None],
    "mobile": ["13800138000", "+8613800138000", "138-0013-8000", None],
    "updated_at": ["2026-05-01 08:30:00.123456+00", None],
}


def cars(values: dict[str, list[str | None]], right_first: bool) -> st.SearchStrategy[list[list[Any]]]:
    def one(item: str) -> st.SearchStrategy[str | None]:
        return st.sampled_from(values[item][:2] if right_first else values[item])

    row = st.tuples(
        st.sampled_from("cuudrt" if not right_first else "cudr"),
        st.integers(0, (1 << len(values)) - 1) if not right_first else st.just(0),
        *map(one, values),
    )
    return st.lists(row.map(list), min_size=1, max_size=3)


def small(rows: list[list[Any]], items: tuple[str, ...]) -> SmallCar:
    made = []
    for at, (op, marked, *written) in enumerate(rows):
        bits = None
        if marked and op == "u" and marked % 3 == 0:
            bits = marked.to_bytes((len(items) + 7) // 8, "little").hex()
            written = [None if marked >> place & 1 else value for place, value in enumerate(written)]
        if op == "t":
            written = [None] * len(written)
        made.append([ord(op), 0, at + 1, 1, 1000 + at, at, 0, 7, COMMIT + at, bits, *written])
    return SmallCar(shape(items), made)


def compare(resource: Resource, car: SmallCar) -> int:
    """How many rows the plain way took; that it came to the same with them, and left the others be."""
    parts = FewCleaner(resource).clean(car, moments(NOW))
    raw = [row for part in parts for row in (as_written(part) if part.shape.cleaned else part).rows]
    assert raw == car.rows
    taken = 0
    for few in parts:
        if few.shape.cleaned is None:
            continue
        taken += few.num_rows
        cleaned = Cleaner(resource).clean(as_written(few).batch(), NOW)
        assert not cleaned.filtered and not cleaned.missing
        assert few.batch().schema.equals(cleaned.batch.schema)
        for name in cleaned.batch.schema.names:
            assert few.batch().column(name).to_pylist() == cleaned.batch.column(name).to_pylist(), name
        envelope = Envelope("d.s", "r", resource)
        unchanged = unchanged_items(cleaned.batch)
        told = envelope.few(few, 17)
        same = envelope.records(cleaned.frame, 17, unchanged).pairs()
        assert told.keys == same.keys
        assert [list(orjson.loads(value).items()) for value in told.values] == [
            list(orjson.loads(value).items()) for value in same.values
        ]
        assert held_few(few, "d.s", "r", 1, 5) == held_records(cleaned, "d.s", "r", 1, 5, unchanged)
    return taken


@settings(max_examples=400, suppress_health_check=list(HealthCheck), deadline=None)
@given(cars(RIGHT, right_first=False) | cars(RIGHT, right_first=True))
def test_all_types_and_rules(rows: list[list[Any]]) -> None:
    compare(FIRM, small(rows, tuple(RIGHT)))


@settings(max_examples=400, suppress_health_check=list(HealthCheck), deadline=None)
@given(cars(PERSONS, right_first=False))
def test_persons(rows: list[list[Any]]) -> None:
    compare(PERSON, small(rows, tuple(PERSONS)))


@pytest.mark.parametrize("op", ["c", "u", "r", "d"])
def test_what_is_as_it_should_be_is_taken(op: str) -> None:
    assert compare(PERSON, small([[op, 0, *(values[0] for values in PERSONS.values())]], tuple(PERSONS)))
    assert compare(FIRM, small([[op, 0, *(values[0] for values in RIGHT.values())]], tuple(RIGHT)))
    # Columns that the contract does not name, in another order than it names the others.
    items = ("extra", *reversed(PERSONS))
    assert compare(PERSON, small([[op, 0, "x", *(PERSONS[item][0] for item in reversed(PERSONS))]], items))


def test_a_row_that_breaks_rules_is_held_by_itself() -> None:
    row = ["u", 0, *(values[0] for values in RIGHT.values())]
    for item, value in (
        ("code", None),
        ("capital", "-3"),
        ("share", "2"),
        ("seen", "2027-05-20 04:03:00+00"),
    ):
        row[2 + list(RIGHT).index(item)] = value
    car = small([row], tuple(RIGHT))
    car.rows[0][10 + list(RIGHT).index("code")] = "91330600MA2BD3XK0P"
    assert compare(FIRM, car) == 1
    [few] = FewCleaner(FIRM).clean(car, moments(NOW))
    found = orjson.loads(few.rows[0][few.shape.key + 2])
    assert [each["rule"] for each in found] == ["credit_code", "range", "range", "not_after"]
    assert few.rows[0][few.shape.key + 1] is True


def test_items_that_were_not_sent_are_left_out() -> None:
    row = ["u", 0b11, *(values[0] for values in RIGHT.values())]
    row[1] = (1 << list(RIGHT).index("_more")) | (1 << list(RIGHT).index("short"))
    while row[1] % 3:
        row[1] += 1 << 20  # beyond the items
    assert compare(FIRM, small([row], tuple(RIGHT)))


def test_without_a_key_a_row_is_its_own() -> None:
    keyless = PERSON.model_copy(update={"key": []})
    assert compare(keyless, small([["c", 0, *(values[0] for values in PERSONS.values())]], tuple(PERSONS)))


@pytest.mark.parametrize(
    ("regex", "plain"),
    [
        (r"[0-9]{4}-[A-Z]+", True),
        (r"(?:浙|苏)[A-Z]\d{5}", True),
        (r"a.*b.*", True),
        (r"(a+)+", False),
        (r"a*b*c*", False),
        (r"\p{Han}+", False),
        (r"[a-z&&[^b]]", False),
        (r"\w+", False),
        (r"(?i)abc", False),
        (r"[^\d]", False),
        (r"a{,3}", False),
    ],
)
def test_only_patterns_that_mean_the_same_are_plain(regex: str, plain: bool) -> None:
    assert is_plain(regex) is plain
