"""Messages to trains, without a server: order, numbers, partitions, repeats, schema changes."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.postgres.capture import Capture
from connectors.postgres.relations import Wanted
from connectors.train_builder import Packed, Reached, TrainBuilder
from datarail.position import Identity, Lane
from datarail.train import Train, as_batch, decode, encode
from tests.connectors import pgoutput
from tests.connectors.pgoutput import UNCHANGED
from tests.connectors.raw import Row, check_identities, check_partitions, fold, rows_of

WANTED = {
    ("public", "a"): Wanted("a", ("id",), ("id", "v")),
    ("public", "b"): Wanted("b", ("y", "x"), ("x", "y", "v")),
    ("public", "bare"): Wanted("bare", (), ("v",)),
}
RELATIONS = [
    pgoutput.relation(1, "public", "a", ["id", "v"], ["id"]),
    pgoutput.relation(2, "public", "b", ["x", "y", "v"], ["x", "y"]),
    pgoutput.relation(3, "public", "bare", ["v"], []),
    pgoutput.relation(4, "public", "not_wanted", ["v"], []),
]
PARTITIONS = 3
_IDS = st.integers(0, 9)
CHANGES = st.one_of(
    st.builds(lambda i, v: pgoutput.insert(1, [i, v]), _IDS, st.text(max_size=5)),
    st.builds(lambda i: pgoutput.update(1, [i, UNCHANGED]), _IDS),
    st.builds(lambda i, j: pgoutput.update(1, [j, "moved"], [i, None]), _IDS, _IDS),
    st.builds(lambda i: pgoutput.delete(1, [i, None]), _IDS),
    st.builds(lambda i, j: pgoutput.insert(2, [i, j, None]), _IDS, _IDS),
    st.builds(lambda i: pgoutput.insert(3, [i]), _IDS),
    st.builds(lambda i: pgoutput.insert(4, [i]), _IDS),
    st.just(pgoutput.truncate(1, 2)),
)
TRANSACTIONS = st.lists(st.lists(CHANGES, max_size=12), min_size=1, max_size=8)


def messages(transactions: list[list[bytes]]) -> list[bytes]:
    found = list(RELATIONS)
    for number, changes in enumerate(transactions, 1):
        position = number * 100
        found += [pgoutput.begin(position, 10**15 + number, number), *changes]
        found.append(pgoutput.commit(position, position + 10, 10**15 + number))
    return found


def start(reached: list[Reached] | None = None) -> Capture:
    return Capture(TrainBuilder("t.s", 1, reached or [Reached() for _ in range(PARTITIONS)]), WANTED)


def run(capture: Capture, data: list[bytes], chance: random.Random, share: float = 0.2) -> list[Packed]:
    trains = []
    for message in data:
        capture.feed(message)
        if chance.random() < share:
            trains += capture.builder.pack(1)
    return trains + capture.builder.pack(1)


def rows(trains: list[Packed]) -> list[Row]:
    by_partition = sorted(trains, key=lambda train: train.partition)
    return rows_of([(train.partition, opened(train)) for train in by_partition], "t.s")


def opened(packed: Packed) -> Train:
    return decode(*encode(packed.manifest, packed.cars))


def test_index_counts_every_row_message() -> None:
    changes = [
        pgoutput.insert(4, ["x"]),
        pgoutput.insert(1, [1, "x"]),
        pgoutput.truncate(4, 1),
        pgoutput.insert(1, [2, ""]),
    ]
    found = rows(run(start(), messages([changes]), random.Random(1)))
    assert sorted({(row.op, row.identity.index) for row in found}) == [("c", 1), ("c", 4), ("t", 3)]
    assert sum(1 for row in found if row.op == "t") == PARTITIONS


def test_truncate_counts_once() -> None:
    trains = run(start(), messages([[pgoutput.truncate(1)]]), random.Random(1), 0)
    assert [train.manifest.cars[0].ops for train in trains] == [{"t": 1}, {}, {}]
    assert [train.manifest.rows for train in trains] == [1, 1, 1]


def test_key_change_is_delete_and_create() -> None:
    found = rows(run(start(), messages([[pgoutput.update(1, [2, "n"], [1, None])]]), random.Random(1)))
    assert sorted((row.op, row.identity.part, row.values["id"], row.values["v"]) for row in found) == [
        ("c", 1, "2", "n"),
        ("d", 0, "1", None),
    ]


def test_full_identity_fills_what_did_not_change() -> None:
    relation = pgoutput.relation(1, "public", "a", ["id", "v"], ["id", "v"], "f")
    change = pgoutput.update(1, [1, UNCHANGED], [1, "long"], b"O")
    found = rows(run(start(), [relation, *messages([[change]])[len(RELATIONS) :]], random.Random(1)))
    assert [(row.op, row.values["v"], row.unchanged) for row in found] == [("u", "long", None)]


def test_new_schema_starts_a_new_car() -> None:
    notices: list[tuple[str, str]] = []
    builder = TrainBuilder("t.s", 1, [Reached() for _ in range(PARTITIONS)])
    capture = Capture(builder, WANTED, notice=lambda resource, text: notices.append((resource, text)))
    wider = pgoutput.relation(1, "public", "a", ["id", "v", "new"], ["id"])
    changes = [pgoutput.insert(1, [1, "x"]), wider, pgoutput.insert(1, [1, "x", "n"])]
    trains = run(capture, messages([changes]), random.Random(1), 0)
    assert [as_batch(car).schema.names[10:] for car in trains[0].cars] == [
        ["_w_id", "_w_v"],
        ["_w_id", "_w_v", "_w_new"],
    ]
    assert notices == [("a", "the column new is not in the contract: it is carried as written")]
    assert [row.values["id"] for row in rows(trains)] == ["1", "1"]


def test_bytes_that_are_no_text_are_shown() -> None:
    bad = b"I\0\0\0\1N\0\2t\0\0\0\x011t\0\0\0\2\xff\xfe"
    found = rows(run(start(), messages([[bad]]), random.Random(1)))
    assert found[0].values["v"] == "\\xff\\xfe"


@settings(max_examples=60, deadline=None)
@given(TRANSACTIONS, st.integers(0, 2**32))
def test_packing_at_any_moment_changes_nothing(transactions: list[list[bytes]], seed: int) -> None:
    data = messages(transactions)
    whole = rows(run(start(), data, random.Random(seed), 0))
    found = rows(run(start(), data, random.Random(seed)))
    check_identities(found)
    check_partitions(found, "a", ["id"], PARTITIONS)
    check_partitions(found, "b", ["y", "x"], PARTITIONS)
    check_partitions(found, "bare", [], PARTITIONS)
    assert sorted(map(plain, found)) == sorted(map(plain, whole))
    for resource, key in (("a", ["id"]), ("b", ["y", "x"])):
        assert fold(found, resource, key) == fold(whole, resource, key)


@settings(max_examples=60, deadline=None)
@given(TRANSACTIONS, st.integers(0, 2**32))
def test_after_a_crash_only_what_is_missing_is_sent(transactions: list[list[bytes]], seed: int) -> None:
    """Some of the trains, per partition, reached Kafka; all messages are read again."""
    data, chance = messages(transactions), random.Random(seed)
    sent = run(start(), data, chance)
    safe: list[Packed] = []
    reached = [Reached() for _ in range(PARTITIONS)]
    for partition in range(PARTITIONS):
        trains = [train for train in sent if train.partition == partition]
        kept = trains[: chance.randrange(len(trains) + 1)]
        safe += kept
        if kept:
            last = kept[-1].manifest
            reached[partition] = Reached({Lane.STREAM: last.seq[Lane.STREAM][1]}, last.last)
    again = run(start(reached), data, chance)
    found = rows(safe + again)
    check_identities(found)
    assert sorted(map(plain, found)) == sorted(map(plain, rows(sent)))


def test_another_epoch_suppresses_nothing() -> None:
    data = messages([[pgoutput.insert(1, [1, "x"])]])
    reached = [Reached({Lane.STREAM: 5}, Identity(0, 10**9, 0)) for _ in range(PARTITIONS)]
    trains = run(start(reached), data, random.Random(1))
    assert [train.manifest.seq[Lane.STREAM] for train in trains] == [(6, 6)]


def plain(row: Row) -> tuple[Any, ...]:
    values = tuple(sorted((name, value or "", value is None) for name, value in row.values.items()))
    return row.resource, row.partition, row.op, row.identity, row.xid, row.unchanged or b"", values
