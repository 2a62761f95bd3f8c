"""A small car is the Arrow car of the same rows, and what is none is refused."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datarail.columns import ADDED, raw_schema
from datarail.errors import BadRecord
from datarail.position import Lane
from datarail.small_car import ITEMS, SmallCar, load, of_batch, shape, type_of, type_text
from datarail.train import CarEntry, Manifest, decode, encode
from datarail.types import arrow_type

U64 = st.integers(0, 2**64 - 1)
META = st.tuples(
    *(st.sampled_from([99, 117]), st.just(0), U64, st.integers(0, 2**32 - 1), U64, U64),
    *(st.integers(0, 1), U64, st.integers(0, 2**53)),
    st.none() | st.binary(min_size=1, max_size=2).map(bytes.hex),
)
TEXT = st.none() | st.text(max_size=5)
CLEANED = {
    "n": ("integer", st.none() | st.integers(-(2**63), 2**63 - 1)),
    "d": ("decimal(9,2)", st.none() | st.decimals(-(10**6), 10**6, places=2).map(str)),
    "f": ("float", st.none() | st.floats(allow_nan=False, allow_infinity=False)),
    "b": ("boolean", st.none() | st.booleans()),
    "day": ("date", st.none() | st.dates(datetime.date(1900, 1, 1)).map(str)),
    "at": (
        "timestamp",
        st.none() | st.datetimes(datetime.datetime(1900, 1, 1)).map(lambda at: f"{at:%FT%T.%fZ}"),
    ),
    "_t": ("text", TEXT),
}
RAW = st.tuples(META, TEXT, TEXT)
CLEAN = st.tuples(META, TEXT, TEXT, st.text(), st.booleans(), TEXT, *(kind for _, kind in CLEANED.values()))
SHAPE = shape(("x", "_y"), tuple((name, kind) for name, (kind, _) in CLEANED.items()))


def small(rows: list[tuple[Any, ...]], *, clean: bool) -> SmallCar:
    return SmallCar(SHAPE if clean else shape(("x", "_y")), [[*meta, *rest] for meta, *rest in rows])


@given(st.lists(RAW, max_size=4))
def test_a_raw_one_is_the_same_in_arrow(rows: list[tuple[Any, ...]]) -> None:
    car = small(rows, clean=False)
    batch = car.batch()
    batch.validate(full=True)
    assert batch.schema.equals(raw_schema(["x", "_y"]))
    assert batch.column("_seq").to_pylist() == [row[2] for row in car.rows]
    assert batch.column("_commit").cast(pa.int64()).to_pylist() == [row[8] for row in car.rows]
    assert batch.column("_unchanged").to_pylist() == [row[9] and bytes.fromhex(row[9]) for row in car.rows]
    assert batch.column("_w__y").to_pylist() == [row[ITEMS + 1] for row in car.rows]


@given(st.lists(CLEAN, min_size=1, max_size=4))
def test_a_clean_one_goes_through_kafka(rows: list[tuple[Any, ...]]) -> None:
    car = small(rows, clean=True)
    entry = CarEntry("r", Lane.STREAM, len(rows), {})
    sent = encode(Manifest("d.s", 1, 0, {Lane.STREAM: (1, len(rows))}, [entry]), [car])
    (same,) = decode(*sent, small=True).cars
    assert isinstance(same, SmallCar)
    assert same.shape is SHAPE
    assert same.rows == car.rows
    (batch,) = decode(*sent).cars
    batch.validate(full=True)
    assert batch.equals(car.batch())
    assert batch.schema.names[12:15] == [name for name, _ in ADDED]
    assert batch.column("d").to_pylist() == [None if r[-6] is None else decimal.Decimal(r[-6]) for r in rows]
    assert batch.column("day").to_pylist() == [
        None if row[-3] is None else datetime.date.fromisoformat(row[-3]) for row in rows
    ]
    assert batch.column("__t").to_pylist() == [row[-1] for row in rows]


@given(st.lists(CLEAN, min_size=1, max_size=4))
def test_a_clean_one_in_arrow_is_small_again(rows: list[tuple[Any, ...]]) -> None:
    batch = small(rows, clean=True).batch()
    again = of_batch(batch)
    assert again is not None and again.shape is SHAPE
    assert again.batch().equals(batch)
    assert orjson.loads(orjson.dumps(again.rows)) == again.rows


def test_what_json_cannot_write_stays_arrow() -> None:
    row = [99, 0, 1, 1, 1, 0, 0, 5, 7, None, None, None, "k", False, None, 1, None]
    for number in (float("nan"), float("inf")):
        columns = shape(("x", "y"), (("f", "float"), ("d", "date")))
        assert of_batch(SmallCar(columns, [[*row[:-2], number, None]]).batch()) is None


def test_every_type_has_a_spelling() -> None:
    for kind in ("integer", "decimal", "float", "boolean", "date", "timestamp", "string"):
        assert type_of(type_text(arrow_type(kind, 18, 4))) == arrow_type(kind, 18, 4)
    with pytest.raises(ValueError, match="decimal"):
        type_of("decimal")


@pytest.mark.parametrize(
    "told",
    [
        {},
        [],
        {"items": ["x"], "rows": [[1, 2]]},
        {"items": ["x"], "rows": 3},
        {"items": ["x"], "cleaned": [["n", "number"]], "rows": []},
    ],
)
def test_what_is_none_is_refused(told: object) -> None:
    with pytest.raises(ValueError):
        load(orjson.dumps(told))


def test_a_value_of_another_type_is_refused() -> None:
    car = SmallCar(shape(("x",)), [[99, 0, 1, 1, 1, 0, 0, 5, "soon", None, "k"]])
    entry = CarEntry("r", Lane.STREAM, 1, {"c": 1})
    sent = encode(Manifest("d.s", 1, 0, {Lane.STREAM: (1, 1)}, [entry]), [car])
    with pytest.raises(BadRecord, match="car r cannot be read"):
        decode(*sent)
