"""Reducing a batch, texts, counting and merging: the pure parts, by property."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from rocksdict import Cache
from trains import Maker, Row

from datarail.errors import Transient
from datarail.position import Identity, Mark
from datarail.themes import Theme
from sinks.contributions import Contributions, key_prefix
from sinks.indicators.counting import count_few, count_many, weighed
from sinks.indicators.plan import Measure, ResourcePlan
from sinks.latest import Latest, latest
from sinks.reduced import last_of_each
from sinks.texts import escaped, needs_escape
from sinks.themes.merge import merge
from sinks.version import version_texts

ITEMS = {"name": pa.utf8()}

# -- reducing


def _changes(ops: str) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Operation, key, position, and a flag: in any order of arrival."""
    change = st.tuples(st.sampled_from(ops), st.integers(0, 2), st.integers(0, 12), st.booleans())
    return st.lists(change, min_size=1, max_size=12, unique_by=lambda change: change[2])


def _rows(changes: list[tuple[Any, ...]]) -> list[Row]:
    return [
        Row(
            key="" if op == "t" else str(key),
            op=op,
            pos=1000 + position,
            held=held and op == "u",
            written={} if op in "dt" else {"name": f"v{position}"},
        )
        for op, key, position, held in changes
    ]


def _cars(rows: list[Row], cut: int) -> list[Any]:
    maker = Maker("t.sys", items=("name",))
    return [maker.train(rows[start : start + cut]).cars[0] for start in range(0, len(rows), cut)]


@settings(deadline=None)
@given(_changes("uudt"), st.integers(1, 4))
def test_what_wins_is_the_newest_identity_however_it_arrives(
    changes: list[tuple[Any, ...]], cut: int
) -> None:
    rows = _rows(changes)
    reduced = latest([(_cars(rows, cut), ITEMS)])[0]
    expected: dict[str, str | None] = {}
    held_keys: set[str] = set()
    for change in sorted(rows, key=lambda change: change.pos or 0):
        if change.op == "t":
            expected = dict.fromkeys(expected, None)
            expected |= dict.fromkeys(held_keys, None)
            held_keys.clear()
        elif change.held:
            held_keys.add(change.key)
        else:
            expected[change.key] = change.written.get("name")
            held_keys.discard(change.key)
    found = {
        row["_key"]: row["name"] if chr(row["_op"]) != "d" else None
        for row in reduced.good.iter_rows(named=True)
    }
    assert found == expected
    assert {each.key for each in reduced.held} == held_keys


def _left_out(ops: str) -> st.SearchStrategy[list[Row]]:
    """Changes that bring a name or leave it out, good, held, or held for the name's sake, in any order."""
    change = st.tuples(
        st.sampled_from(ops),
        st.integers(0, 2),
        st.integers(0, 12),
        st.booleans(),
        st.sampled_from([None, None, "other", "name", ""]),
    )
    return st.lists(change, min_size=1, max_size=12, unique_by=lambda change: change[2]).map(
        lambda changes: [
            Row(
                key="" if op == "t" else str(key),
                op=op,
                pos=1000 + position,
                held=op == "u" and fault is not None,
                findings=[{"item": fault, "severity": "hard"}] if op == "u" and fault is not None else None,
                written={"name": ... if left_out else f"v{position}"} if op == "u" else {},
            )
            for op, key, position, left_out, fault in changes
        ]
    )


@settings(deadline=None, max_examples=300)
@given(_left_out("uuuudt"), st.integers(1, 4))
def test_what_a_change_left_out_is_what_an_earlier_one_brought(rows: list[Row], cut: int) -> None:
    reduced = latest([(_cars(rows, cut), ITEMS)])[0]
    known: dict[str, str | None] = {}
    unknown: set[str] = set()
    left: set[str] = set()
    held: dict[str, dict[str, str]] = {}
    for change in sorted(rows, key=lambda change: change.pos or 0):
        name = change.written.get("name")
        if change.held:
            told = held.setdefault(change.key, {})
            if name is not ... and (change.findings or [{}])[0]["item"] == "other":
                told["name"] = name
            continue
        gone = [*known, *unknown, *held] if change.op == "t" else [change.key] if change.op == "d" else []
        known |= dict.fromkeys(gone)
        unknown -= set(gone)
        left -= {*gone, change.key}
        remembered = held.pop(change.key, {})
        if change.op == "t":
            held.clear()
        elif change.op == "u" and name is ...:
            left.add(change.key)
            if "name" in remembered:
                known[change.key] = remembered["name"]
                unknown.discard(change.key)
            elif change.key not in known:
                unknown.add(change.key)
        elif change.op == "u":
            known[change.key] = name
            unknown.discard(change.key)
    there = pl.when(pl.col("_op") != ord("d")).then("name")
    found = dict(reduced.good.select("_key", there).iter_rows())
    assert found == known | dict.fromkeys(unknown)
    assert reduced.unchanged == {key: ["name"] for key in unknown}
    assert reduced.left_out == {key: ["name"] for key in left}
    assert {each.key: each.told for each in reduced.held} == held


@settings(deadline=None)
@given(st.lists(_left_out("uuudt"), max_size=4), st.integers(1, 4))
def test_resources_reduced_together_are_as_each_alone(resources: list[list[Row]], cut: int) -> None:
    asked = [(_cars(rows, cut), ITEMS) for rows in resources]
    together = latest(asked)
    assert len(together) == len(asked)
    for found, one in zip(together, asked, strict=True):
        alone = latest([one])[0]
        for name in ("good", "overtaken"):
            assert_frame_equal(getattr(found, name), getattr(alone, name))
        for name in ("held", "truncated", "left_out", "unchanged"):
            assert getattr(found, name) == getattr(alone, name)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(_left_out("uuudt"), max_size=3), max_size=3), st.integers(1, 20))
def test_a_batch_reduced_slice_by_slice_is_as_each_resource_alone(
    batches: list[list[list[Row]]], at_once: int
) -> None:
    plan = SimpleNamespace(items=ITEMS)
    asked = [{f"r{number}": _cars(rows, 3) for number, rows in enumerate(batch)} for batch in batches]
    plans = {f"r{number}": plan for number in range(3)}
    found = last_of_each([(plans, cars) for cars in asked], lambda plan: False, at_once)
    assert len(found) == len(asked)
    for by_resource, cars in zip(found, asked, strict=True):
        reduced = list(by_resource)
        assert [resource for resource, _ in reduced] == list(cars)
        for resource, one in reduced:
            alone = latest([(cars[resource], ITEMS)])[0]
            assert isinstance(one, Latest)
            assert_frame_equal(one.good, alone.good)
            assert (one.held, one.truncated, one.unchanged) == (alone.held, alone.truncated, alone.unchanged)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 65535), st.integers(0, 2**64 - 1), st.integers(0, 2**44 - 1), st.integers(0, 1)
        ),
        min_size=2,
    )
)
def test_versions_sort_as_identities_do(parts: list[tuple[int, int, int, int]]) -> None:
    table = pa.table(
        {
            "_epoch": pa.array([part[0] for part in parts], pa.uint32()),
            "_pos": pa.array([part[1] for part in parts], pa.uint64()),
            "_idx": pa.array([part[2] for part in parts], pa.uint64()),
            "_part": pa.array([part[3] for part in parts], pa.uint8()),
            "_held": pa.array([False] * len(parts)),
        }
    )
    versions = version_texts(table).to_pylist()
    for (one, first), (two, second) in itertools.pairwise(zip(parts, versions, strict=True)):
        assert (Identity(*one) < Identity(*two)) == (first < second)
        assert (one == two) == (first == second)


# -- texts


@settings(deadline=None)
@given(st.lists(st.none() | st.text(), max_size=8), st.booleans())
def test_escaped_texts_are_json(texts: list[str | None], many: bool) -> None:
    texts = texts * (20 if many else 1)
    series = pl.Series(texts, dtype=pl.String)
    assert [None if t is None else orjson.loads(t) for t in escaped(series)] == texts
    special = any(text is not None and orjson.dumps(text) != b'"' + text.encode() + b'"' for text in texts)
    assert needs_escape(series) == special


# -- counting

_TEXT = st.sampled_from(["a", "b", '引"', "\x1e"])
_AMOUNT = st.decimals(-(10**12), 10**12, places=2).map(str) | st.just("\x1e")
_DAY = st.sampled_from(["2024-05-03", "2024-05-04", "\x1e"])


@settings(deadline=None)
@given(
    st.lists(st.tuples(_AMOUNT, _DAY, _TEXT, _TEXT), max_size=20),
    st.lists(st.tuples(_AMOUNT, _DAY, _TEXT, _TEXT), max_size=20),
)
def test_few_and_many_rows_count_alike(gone: list[tuple[str, ...]], come: list[tuple[str, ...]]) -> None:
    items = {"amount": pa.decimal128(18, 2), "day": pa.date32(), "kind": pa.utf8(), "place": pa.utf8()}
    measures = (
        Measure("all", None, (), None, ()),
        Measure("kinds", None, ("kind", "place"), "day", ()),
        Measure("sum", "amount", ("place",), None, (("kind", ("a", "b")),), 2),
    )
    plan = ResourcePlan("r", measures, items)
    rows = [["".join(f"{text}\x1f" for text in row).encode() for row in some] for some in (gone, come)]
    weights = weighed(rows[0], rows[1])
    assert count_few(weights, plan) == count_many(weights, plan)


# -- merging

THEME = Theme.model_validate(
    {
        "title": "人口",
        "key": "id",
        "key_title": "号码",
        "fields": {"name": {"title": "姓名", "authority": ["police", "civil"]}, "mobile": {"title": "手机"}},
    }
)
_ENTRY = st.fixed_dictionaries(
    {
        "v": st.integers(0, 5).map(lambda n: f"{n:032x}"),
        "h": st.sampled_from([0, 7]),
        "c": st.integers(0, 3),
        "f": st.dictionaries(st.sampled_from(["name", "mobile"]), st.sampled_from(["x", "y", None])),
    }
)
_SOURCES = st.dictionaries(
    st.sampled_from(
        [f"{d}.s/{r}/{k}" for d in ("police", "civil", "other") for r in ("a", "b#1") for k in ("1", "2/3")]
    ),
    _ENTRY,
    min_size=1,
)


@settings(deadline=None)
@given(_SOURCES, st.randoms())
def test_order_of_arrival_does_not_matter(sources: dict[str, Any], rng: Any) -> None:
    shuffled = list(sources.items())
    rng.shuffle(shuffled)
    assert merge(THEME, sources) == merge(THEME, dict(shuffled))


@settings(deadline=None)
@given(_SOURCES, st.data())
def test_what_was_withdrawn_has_never_been(sources: dict[str, Any], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(sources)))
    without = {source: entry for source, entry in sources.items() if source != gone}
    assert merge(THEME, sources | {gone: {"v": "f" * 32, "d": 1}}) == merge(THEME, without)


@settings(deadline=None)
@given(_SOURCES)
def test_the_highest_authority_that_has_a_value_wins(sources: dict[str, Any]) -> None:
    record = merge(THEME, sources)
    assert record is not None
    for name in ("name", "mobile"):
        having = {s: e for s, e in sources.items() if e["f"].get(name) is not None}
        if not having:
            assert name not in record["fields"]
            continue
        ranks = {source: THEME.rank(name, source.partition(".")[0]) for source in having}
        chosen = record["fields"][name]["source"]
        [source] = [
            s
            for s in having
            if s.partition("/")[0] == chosen["station"]
            and s.split("/", 2)[1].partition("#")[0] == chosen["resource"]
            and s.split("/", 2)[2] == chosen["key"]
        ]
        assert ranks[source] == min(ranks.values())
        assert having[source]["c"] == max(e["c"] for s, e in having.items() if ranks[s] == ranks[source])
        assert (record["fields"][name]["held"] is not None) == bool(having[source]["h"])


# -- the local store


def test_contributions_are_written_with_their_mark_and_found_again(tmp_path: Path) -> None:
    store = Contributions(tmp_path / "0", Cache(1 << 20))
    assert store.mark() is None and store.get([b"r\0a"]) == [None]
    store.put([b"r\0a", b"r\0b", b"r2\0a"], [b"1", b"2", b"3"], Mark(7), [("shape", b"x")])
    with pytest.raises(Transient, match="in use"):
        Contributions(tmp_path / "0", Cache(1 << 20))
    store.close()
    store = Contributions(tmp_path / "0", Cache(1 << 20))
    assert store.mark() == Mark(7) and store.note("shape") == b"x"
    assert list(store.scan("r")) == [[(key_prefix("r") + b"a", b"1"), (b"r\0b", b"2")]]
    store.forget([b"r\0a"])
    assert store.get([b"r\0a", b"r2\0a"]) == [None, b"3"]
    store.wipe()
    assert store.mark() is None
    store.close()


def test_sums_are_exact() -> None:
    plan = ResourcePlan("r", (Measure("sum", "a", (), None, (), 2),), {"a": pa.decimal128(18, 2)})
    rows = [b"0.10\x1f"] * 300
    weights = weighed([], rows)
    assert count_many(weights, plan) == {"sum": {"[]": 3000}} == count_few(weights, plan)
    assert Decimal(3000).scaleb(-2) == Decimal("30.00")
