"""A handful of changes row by row comes to what the same changes come to as data frames."""

from __future__ import annotations

from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from datarail.small_car import FEW, SmallCar, shape, type_text
from datarail.train import as_batches
from sinks.held import Held, remembering
from sinks.indicators.counting import contributions, contributions_few
from sinks.indicators.counting import is_plain as counts_plain
from sinks.indicators.plan import ResourcePlan as CountPlan
from sinks.latest import latest
from sinks.latest_few import FewLatest, latest_few
from sinks.partition import not_void
from sinks.texts import as_bytes
from sinks.themes.few import is_plain, land_few
from sinks.themes.landing import Landing, land, land_held
from sinks.themes.plan import FeedPlan, ResourcePlan
from sinks.themes.rows import Rows, few_rows, table_rows
from sinks.unchanged import with_remembered

TYPES: dict[str, pa.DataType] = {
    "name": pa.utf8(),
    "n": pa.int64(),
    "sum": pa.decimal128(12, 2),
    "born": pa.date32(),
    "open": pa.bool_(),
    "at": pa.timestamp("us", "UTC"),
    "share": pa.float64(),
    "_odd": pa.utf8(),
}
TEXT = st.sampled_from(["", "a", "张三", 'q"', "back\\slash", "tab\t", "end\x1f", "null\x1e", "x" * 30])
VALUES = {
    "name": st.none() | TEXT,
    "n": st.none() | st.integers(-5, 5),
    "sum": st.sampled_from([None, "0.00", "-12.50", "1234567.89"]),
    "born": st.sampled_from([None, "1949-10-01", "2020-02-29"]),
    "open": st.none() | st.booleans(),
    "at": st.sampled_from([None, "2020-01-31T08:30:00.000000Z", "1949-10-01T00:00:00.123456Z"]),
    "share": st.sampled_from([None, 0.0, 0.25, -1e-7, 3.0, 1e22]),
    "_odd": st.none() | TEXT,
}
SHAPE = shape(tuple(TYPES), tuple((name, type_text(kind)) for name, kind in TYPES.items()))
FEEDS = (
    FeedPlan(
        "population", "d.s/r", 0, ("name",), (("given", "name", pa.utf8()), ("born", "born", pa.date32()))
    ),
    FeedPlan(
        "legal_entity",
        "d.s/r#1",
        1,
        ("n", "_odd"),
        tuple((f"f{at}", item, kind) for at, (item, kind) in enumerate(TYPES.items())),
    ),
)
PLAN = ResourcePlan("d.s", "r", FEEDS, TYPES)

row = st.tuples(
    st.sampled_from("ccuud"),
    st.integers(0, 2),  # source key
    st.integers(0, 6),  # position: repeats and disorder
    st.sampled_from([None, None, "n", "name", ""]),  # held, and for which item's sake
    st.tuples(*VALUES.values()),
)
batches = st.lists(st.lists(row, min_size=1, max_size=3), min_size=1, max_size=3)


def cars(batch: list[list[tuple[Any, ...]]]) -> list[SmallCar]:
    made = []
    for rows in batch:
        told = []
        for op, key, position, fault, values in rows:
            if op == "d":
                values = (None,) * len(values)
            meta = [ord(op), 0, 1, 3, 1000 + position, key, 0, 7, 1_700_000_000_000_000 + position, None]
            findings = None if fault is None else orjson.dumps([{"item": fault, "severity": "hard"}]).decode()
            told.append(
                [*meta, *[None] * len(TYPES), f"k{key}", fault is not None and op != "d", findings, *values]
            )
        made.append(SmallCar(SHAPE, told))
    return made


def told(landing: Landing) -> tuple[list[Any], dict[bytes, bytes], list[pl.DataFrame]]:
    """What stores see: changes by golden record and field in order, contributions, table rows."""
    by_field: dict[tuple[bytes, bytes], list[bytes]] = {}
    for key, field, text in landing.changes:
        said = by_field.setdefault((key, field), [])
        if said[-1:] != [text]:  # to be told the same twice is harmless
            said.append(text)
    waiting: dict[int, list[Rows]] = {}
    for rows in landing.rows:
        waiting.setdefault(rows.feed.number, []).append(rows)
    frames = [table_rows(waiting[number]).sort("source_key") for number in sorted(waiting)]
    frames += [frame.sort("source_key") for frame in few_rows(landing.few)]
    return sorted(by_field.items()), dict(zip(landing.keys, landing.values, strict=True)), frames


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches, batches, st.none() | st.integers(0, 6), st.integers(1, 3))
def test_themes(first: list[Any], second: list[Any], truncated: int | None, at_once: int) -> None:
    void = None if truncated is None else f"{3 << 112 | (1000 + truncated) << 48:032x}".encode()
    contributions_then: dict[bytes, bytes] = {}
    for batch in (first, second):
        some = cars(batch)
        few = latest_few(some, TYPES)
        assert few is not None
        few = few.without_void(void)
        many = not_void(latest([(as_batches(some), TYPES)])[0], void)
        assert [each.key for each in few.good] == many.good["_key"].to_list()
        assert [each.version for each in few.good] == many.good["_version"].to_list()
        assert few.held == many.held
        known = [contributions_then.get(b"r\0" + each.key.encode()) for each in few.good]
        by_few, by_many = Landing(), Landing()
        land_few(by_few, few, known, PLAN, 4)
        for part in many.parts(at_once):
            keys = [b"r\0" + key.encode() for key in part.good["_key"]]
            land(by_many, part, keys, [contributions_then.get(key) for key in keys], PLAN, 4)
        for landing in (by_few, by_many):
            there = contributions_then | dict(zip(landing.keys, landing.values, strict=True))
            land_held(landing, few.held, [there.get(b"r\0" + each.key.encode()) for each in few.held], PLAN)
        (changes, values, frames), (same, others, tables) = told(by_few), told(by_many)
        assert changes == same
        assert values == others
        for frame, table in zip(frames, tables, strict=True):
            assert_frame_equal(frame, table)
        contributions_then |= values


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches)
def test_indicators(batch: list[Any]) -> None:
    items = {item: kind for item, kind in sorted(TYPES.items()) if item != "share"}
    plan = CountPlan("r", (), items)
    some = cars(batch)
    few = latest_few(some, items)
    assert few is not None
    many = latest([([car.batch() for car in some], items)])[0]
    assert contributions_few(few.good, plan) == as_bytes(contributions(many.good, plan))
    assert len(few.overtaken) == many.overtaken.height
    assert {each[:4] for each in few.overtaken} == {
        (key, version, op, int(commit.timestamp() * 1e6))
        for key, version, op, commit in many.overtaken.select(
            "_key", "_version", "_op", "_commit"
        ).iter_rows()
    }


def test_what_is_not_plain_goes_the_way_of_many() -> None:
    one: list[Any] = [[("c", 1, 1, None, tuple(None for _ in VALUES))]]
    assert isinstance(latest_few(cars(one), TYPES), FewLatest)
    assert latest_few([cars(one)[0].batch()], TYPES) is None
    assert latest_few(cars(one) * (FEW + 1), TYPES) is None
    assert latest_few(cars(one), {**TYPES, "other": pa.utf8()}) is None
    assert latest_few(cars(one), {**TYPES, "n": pa.utf8()}) is None
    for place, value in ((0, ord("t")), (9, "02"), (3, 1 << 16), (5, 1 << 44)):
        (odd,) = cars(one)
        odd.rows[0][place] = value
        assert latest_few([odd], TYPES) is None, place
    (spared,) = cars(one)
    spared.rows[0][9] = "02"  # the second item is unchanged, and nobody asks for it
    assert latest_few([spared], {"name": pa.utf8()}) is not None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(*VALUES.values()), min_size=1, max_size=3), st.booleans())
def test_what_held_changes_brought_is_filled_in_as_it_was(values: list[tuple[Any, ...]], odd: bool) -> None:
    last = dict(zip(TYPES, values[-1], strict=True)) | ({"share": float("nan")} if odd else {})
    known = None
    for at, some in enumerate([*values[:-1], last.values()]):
        told = dict(zip(TYPES, some, strict=True))
        known = remembering(known, Held("k0", f"{3 << 112 | at:032x}", 0, told))
    few = cars([[("u", 0, 1, None, tuple(some))] for some in ((None,) * len(TYPES), last.values())])
    asking, expected = (latest([([car.batch()], TYPES)])[0].good for car in few)
    filled, left = with_remembered(asking, {"k0": list(TYPES)}, {}, [known], TYPES)
    assert_frame_equal(filled, expected)
    assert left == {"k0": []}


def test_what_was_of_another_type_is_filled_in_where_it_reads() -> None:
    known = [remembering(None, Held("k", "0" * 32, 0, {"n": value})) for value in ("12", "x")]
    good = pl.DataFrame({"_key": ["a", "b"], "_version": ["1" * 32] * 2, "n": [None, 1]})
    filled, _ = with_remembered(good, {"a": ["n"], "b": ["n"]}, {}, known, {"n": pa.int64()})
    assert filled["n"].to_list() == [12, None]


@pytest.mark.parametrize("item", ["share", "n"])
def test_a_number_with_many_spellings_is_no_key(item: str) -> None:
    feed = FeedPlan("population", "d.s/r", 0, (item,), ())
    assert is_plain(ResourcePlan("d.s", "r", (feed,), TYPES)) is (item != "share")
    assert counts_plain(CountPlan("r", (), {item: TYPES[item]})) is (item != "share")
