"""Many messages read at once come to the changes that they come to one by one."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import patch
from zlib import crc32

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from connectors.many_rows import Mask
from connectors.postgres import decode
from connectors.postgres.capture import Capture
from connectors.postgres.relations import Wanted
from connectors.train_builder import Columns, Filter, Packed, Reached, TrainBuilder
from datarail.train import Train, encode
from datarail.train import decode as opened
from tests.connectors import pgoutput
from tests.connectors.pgoutput import UNCHANGED
from tests.connectors.raw import Row, check_identities, check_partitions, rows_of

PARTITIONS = 3
NEAR = 5 << 32
#: by oid: resource, columns, key, replica identity
TABLES: dict[int, tuple[str, list[str], list[str], str]] = {
    1: ("a", ["id", "v"], ["id"], "d"),
    2: ("b", ["x", "y", "v"], ["y", "x"], "d"),
    3: ("bare", ["v"], [], "d"),
    4: ("full", ["v", "id", "w"], ["id"], "f"),
    5: ("wide", [f"c{number}" for number in range(11)], ["c9"], "d"),
    6: ("left out", ["v"], ["v"], "d"),
    7: ("empty", [], [], "d"),
}
WANTED = {
    ("public", name): Wanted(name, tuple(key), tuple(columns))
    for name, columns, key, _ in TABLES.values()
    if name != "left out"
}
#: Making a failing stream small would take minutes.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
KEYS = {name: key for name, _, key, _ in TABLES.values()}

texts = st.sampled_from([b"", b"1", b"2", b"33", "张三".encode(), b"\xff\xfe", b'"\\', b"x" * 300])
values = st.none() | texts | st.just(UNCHANGED)


def tuple_of(width: int, more: int) -> st.SearchStrategy[list[object]]:
    return st.lists(values, min_size=width + more, max_size=width + more)


@st.composite
def changes(draw: st.DrawFn, widened: dict[int, int]) -> bytes:
    """One message within a transaction. widened: columns that tables have more by now."""
    oid = draw(st.sampled_from(list(TABLES)))
    _, columns, key, identity = TABLES[oid]
    more = widened.get(oid, 0)
    kind = draw(st.sampled_from("IIIUUUUKDTRCYM"))
    row = draw(tuple_of(len(columns), more))
    if kind == "R":
        return told(oid, more)
    if kind == "C":
        widened[oid] = 1 - more
        return told(oid, 1 - more)
    if kind == "Y":
        return draw(st.sampled_from([b"Y\0\0\0\1public\0kind\0", b"O\0\0\0\0\0\0\0\1elsewhere\0"]))
    if kind == "M":
        return b"M\0" + bytes(8) + b"datarail\0\0\0\0\1x"
    if kind == "T":
        return pgoutput.truncate(*draw(st.lists(st.sampled_from(list(TABLES)), min_size=1, max_size=3)))
    if kind == "I":
        return pgoutput.insert(oid, row)
    if kind == "U":
        return pgoutput.update(oid, row)
    old = draw(tuple_of(len(columns), more))
    if identity == "d":
        names = [*columns, "more"]
        old = [value if name in key else None for name, value in zip(names, old, strict=False)]
    old = [None if value is UNCHANGED else value for value in old]
    if kind == "D":
        return pgoutput.delete(oid, old, b"O" if identity == "f" else b"K")
    return pgoutput.update(oid, row, old, b"O" if identity == "f" else b"K")


def told(oid: int, more: int = 0) -> bytes:
    name, columns, key, identity = TABLES[oid]
    return pgoutput.relation(oid, "public", name, columns + ["more"] * more, key, identity)


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """What a slot sends: whole transactions, the last one perhaps unfinished."""
    found = [told(oid) for oid in TABLES]
    widened: dict[int, int] = {}
    position, xid = 100, draw(st.sampled_from([7, 2**32 - 3, 2**31]))
    for _ in range(draw(st.integers(1, 8))):
        position += draw(st.integers(1, 100))
        xid = (xid + draw(st.integers(1, 3))) % 2**32
        found.append(pgoutput.begin(position, 10**15 - position, xid))
        found += [draw(changes(widened)) for _ in range(draw(st.integers(0, 12)))]
        found.append(pgoutput.commit(position, position + 1, 10**15 - position))
    return found[:-1] if draw(st.booleans()) else found


def capture(reached: list[Reached] | None = None, keep: Filter | None = None) -> Capture:
    reached = reached or [Reached() for _ in range(PARTITIONS)]
    return Capture(TrainBuilder("t.s", 1, reached, keep), WANTED, NEAR)


def one_by_one(stream: list[bytes]) -> tuple[Capture, list[Packed]]:
    """The slow way to the end: no NumPy at all."""
    slow = capture()
    for message in stream:
        slow.feed(message)
    with patch("connectors.train_builder.FEW", 10**9):
        return slow, slow.builder.pack(1)


def many(fast: Capture, stream: list[bytes], chance: random.Random, few: int) -> list[Packed]:
    """The fast way, in turns, some of them single, packed now and then."""
    trains: list[Packed] = []
    rest = list(stream)
    with (
        patch("connectors.postgres.capture.MANY", chance.choice([1, 5, 20])),
        patch("connectors.postgres.changes.FEW", few),
        patch("connectors.train_builder.FEW", few),
    ):
        while rest:
            size = chance.choice([1, 3, 30, 300])
            turn, rest = rest[:size], rest[size:]
            fast.take(turn, sum(map(len, turn)))
            if chance.random() < 0.3 or not rest:
                fast.flush()
                trains += fast.builder.pack(1)
    return trains


def sent(packed: Packed) -> Train:
    return opened(*encode(packed.manifest, packed.cars))


def rows(trains: list[Packed]) -> list[Row]:
    by_partition = sorted(trains, key=lambda train: train.partition)
    return rows_of([(train.partition, sent(train)) for train in by_partition], "t.s")


def plain(row: Row) -> tuple[Any, ...]:
    """All but _seq."""
    return row.partition, row.resource, *row.identity, row.op, row.xid, row.commit, row.unchanged, row.values


def same(found: list[Row], expected: list[Row]) -> None:
    """Equal but for _seq, whose density rows_of has checked and whose order check_identities does."""
    check_identities(found)
    assert sorted(map(plain, found), key=repr) == sorted(map(plain, expected), key=repr)
    for name, key in KEYS.items():
        check_partitions(found, name, key, PARTITIONS)


def counts(trains: list[Packed]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for train in trains:
        for car in train.manifest.cars:
            found.update({(car.resource, op): number for op, number in car.ops.items()})
    return found


@settings(max_examples=150, deadline=None, phases=_PHASES)
@given(streams(), st.integers(0, 2**32), st.sampled_from([0, 0, 4, 32]))
def test_the_fast_way_is_the_slow_one(stream: list[bytes], seed: int, few: int) -> None:
    slow, expected = one_by_one(stream)
    fast = capture()
    trains = many(fast, stream, random.Random(seed), few)
    same(rows(trains), rows(expected))
    assert counts(trains) == counts(expected)
    assert (fast.place, fast.heard, fast.builder.last) == (slow.place, slow.heard, slow.builder.last)
    assert (fast.builder.rows, fast.builder.bytes) == (0, 0)
    ends = {train.partition: train.manifest.last for train in trains}
    if trains:
        assert max(filter(None, ends.values())) == slow.builder.last
    for train in trains:
        for entry, car in zip(train.manifest.cars, sent(train).cars, strict=True):
            car.validate(full=True)
            commits = [each.value for each in car.column("_commit")]
            assert (entry.first_commit, entry.last_commit) == (min(commits), max(commits))


@settings(max_examples=100, deadline=None, phases=_PHASES)
@given(streams(), st.integers(0, 2**32))
def test_repeats_and_what_the_filter_drops_stay_out(stream: list[bytes], seed: int) -> None:
    chance = random.Random(seed)
    all_rows = rows(one_by_one(stream)[1])
    reached = [Reached() for _ in range(PARTITIONS)]
    for place in reached:
        if all_rows and chance.random() < 0.8:
            place.last = chance.choice(all_rows).identity
    salt = chance.randrange(100)

    def kept(resource: str, op: int, position: int, xid: int, key: list[str | None]) -> bool:
        return crc32(repr((salt, resource, op, position, xid, key)).encode()) % 3 > 0

    def keep(columns: Columns) -> Mask | None:
        if columns.resource == "a":
            return None
        key = [column.to_pylist() for column in columns.key]
        told = zip(columns.ops.tolist(), columns.position.tolist(), columns.xid.tolist(), strict=True)
        return np.array(
            [kept(columns.resource, *each, [column[row] for column in key]) for row, each in enumerate(told)],
            bool,
        )

    def stays(row: Row) -> bool:
        last = reached_before[row.partition]
        if last is not None and row.identity <= last:
            return False
        key = list(row.key(KEYS[row.resource]))
        return row.resource == "a" or kept(row.resource, ord(row.op), row.identity.position, row.xid, key)

    reached_before = [place.last for place in reached]
    found = rows(many(capture(reached, keep), stream, chance, 0))
    same(found, [row for row in all_rows if stays(row)])


def big(stream: list[bytes]) -> Callable[[], None]:
    def run() -> None:
        fast = capture()
        with patch("connectors.postgres.capture.MANY", 1):
            fast.take(stream, sum(map(len, stream)))
            fast.flush()

    return run


@pytest.mark.parametrize(
    "bad",
    [
        b"I\0\0\0\1N\0\2t\0\0\0\x011b\0\0\0\x01x",  # binary
        b"I\0\0\0\1N\0\1t\0\0\0\x011",  # too few columns
        b"I\0\0\0\1N\0\2t\0\0\0\x011t\0\0\0\x09x",  # ends after its message
        b"I\0\0\0\1N\0\2t\xff\xff\xff\xff1",
        b"I\0\0\0\1N\0\2t\0\0\0\x011",  # ends before its last column
        b"I\0\0\0\1N\0",
        b"U\0\0\0\1X\0\0",
        b"U\0\0\0\1K\0\2nn",
        b"D\0\0\0\1N\0\2nn",
        b"I\0\0\0\x09N\0\1n",  # of a table never told
        b"B\0",
        b"T\0\0\0\2\0\0\0\0\1",
        b"Z",
        b"",
    ],
)
@pytest.mark.parametrize("few", [0, 32])
def test_malformed(bad: bytes, few: int) -> None:
    good = pgoutput.insert(1, [b"1", None])
    begin = pgoutput.begin(5, 10**15, 3)
    slow = capture()
    with pytest.raises(decode.Malformed):
        for message in [told(1), begin, bad]:
            slow.feed(message)
    for stream in ([told(1), begin, good, bad], [told(1), begin, good, bad, *[good] * 40]):
        with patch("connectors.postgres.changes.FEW", few), pytest.raises(decode.Malformed):
            big(stream)()
