"""A handful of changes becomes the same trains whichever way they are packed."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from connectors.rows import CREATE, DELETE, EVERY, TRUNCATE, UPDATE
from connectors.train_builder import Packed, Reached, TrainBuilder
from datarail.position import Identity, Lane
from datarail.small_car import FEW, SmallCar
from datarail.train import decode, encode

PARTITIONS = 3
WIDTH = 9  # its bitmap of unchanged items has two bytes

values = st.none() | st.binary(max_size=4) | st.text(max_size=4).map(str.encode)
change = st.tuples(
    st.sampled_from([CREATE, UPDATE, DELETE, TRUNCATE]),
    st.lists(values, min_size=WIDTH, max_size=WIDTH),
    st.integers(0, PARTITIONS - 1),
    st.integers(0, (1 << WIDTH) - 1) | st.just(0),
    st.booleans(),  # part 1 of a change of key
)
transactions = st.lists(st.lists(change, min_size=1, max_size=4), min_size=1, max_size=4)
Change = tuple[int, list[bytes | None], int, int, bool]


def packed(work: list[list[Change]], few: int) -> tuple[list[Packed], TrainBuilder]:
    builder = TrainBuilder("d.s", 7, [Reached({Lane.STREAM: 10 * each}) for each in range(PARTITIONS)])
    rows = builder.open("r", [f"i{each}" for each in range(WIDTH)], [0])
    for number, changes in enumerate(work, 1):
        rows.runs.append((len(rows.ops), number * 100, 900 + number, 1_700_000_000_000_000 - number))
        for index, (op, items, target, unchanged, second) in enumerate(changes):
            if unchanged:
                rows.unchanged[len(rows.ops)] = unchanged
            if second:
                rows.second.append(len(rows.ops))
            rows.flat.extend(items)
            rows.ops.append(op)
            rows.index.append(index)
            rows.target.append(EVERY if op == TRUNCATE else target)
    with patch("connectors.train_builder.FEW", few):
        return builder.pack(1_700_000_000_000_000), builder


@given(transactions)
def test_few_rows_are_packed_as_many_are(work: list[list[Change]]) -> None:
    trains, builder = packed(work, FEW)
    others, other = packed(work, 0)
    assert [(train.partition, train.manifest) for train in trains] == [
        (train.partition, train.manifest) for train in others
    ]
    assert builder.last == other.last
    for train, same in zip(trains, others, strict=True):
        assert len(train.cars) == len(same.cars) == 1
        assert isinstance(train.cars[0], SmallCar)
        train.cars[0].batch().validate(full=True)
        assert train.cars[0].batch().equals(same.cars[0])
        # All items' values lie in one buffer: what is sent must be each column's own part of it.
        assert decode(*encode(train.manifest, train.cars)).cars[0].equals(same.cars[0])


def test_one_row_goes_where_it_should() -> None:
    change: Change = (UPDATE, [b"k", *[None] * (WIDTH - 1)], 2, 0, False)
    (train,), builder = packed([[change]], FEW)
    assert train.partition == 2
    assert train.manifest.seq == {Lane.STREAM: (21, 21)}
    assert train.cars[0].batch().column("_w_i0").to_pylist() == ["k"]
    assert builder.last == train.manifest.last == Identity(7, 100, 0, 0)
