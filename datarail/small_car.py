"""A car of a handful of rows as plain values: JSON in the train, lists in memory.

Under a light load with many resources nearly every car has one row. Arrow's schema then takes a
kilobyte, and each column the price of a call in every hop; a JSON list takes neither. What a
column holds is said in datarail.train, and `SmallCar.batch` makes the Arrow car of it.

    {"items": [names of the as-written items], "rows": [[...], ...]}

A row has the values of the columns in a car's order. _commit is microseconds since 1970,
_unchanged null or the bitmap in hexadecimal digits. Clean cars also have "cleaned": [[name, type]]
for the items after _findings; integers, floats and booleans are JSON's, decimals texts with all
their places, dates and times ISO 8601 (2020-01-31, 2020-01-31T08:30:00.000000Z).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any

import orjson
import pyarrow as pa

from datarail.columns import ADDED, META, WRITTEN, column, item_of
from datarail.types import arrow_type

#: Up to so many rows Python's price a value is less than Arrow's a column.
FEW = 96

#: Places in a row.
OP, LANE, SEQ, EPOCH, POS, IDX, PART, XID, COMMIT, UNCHANGED = range(10)
#: Where the as-written items begin; _key, _held and _findings are after the last of them.
ITEMS = 10

Row = list[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """The columns of small cars; of one set there is one object (`shape`), so `is` compares.

    items: the as-written ones. cleaned: name and type of each cleaned one; None: a raw car.
    """

    items: tuple[str, ...]
    cleaned: tuple[tuple[str, str], ...] | None
    schema: pa.Schema
    #: The cars' JSON up to its rows.
    head: bytes
    #: By item its place in a row, as written and cleaned.
    written: dict[str, int]
    values: dict[str, int]

    @property
    def key(self) -> int:
        """The place of _key; _held and _findings are the next two."""
        return ITEMS + len(self.items)

    def unchanged(self, bits: str | None) -> list[str]:
        """The items that a row's bitmap says were not sent."""
        if bits is None:
            return []
        marked = int.from_bytes(bytes.fromhex(bits), "little")
        return [item for at, item in enumerate(self.items) if marked >> at & 1]


@lru_cache(maxsize=4096)
def shape(items: tuple[str, ...], cleaned: tuple[tuple[str, str], ...] | None = None) -> Shape:
    """The shape of cars with these columns. Raises ValueError for a type that there is none of."""
    fields = [*META, *((WRITTEN + item, pa.utf8()) for item in items)]
    told: dict[str, Any] = {"items": items}
    first = ITEMS + len(items) + len(ADDED)
    if cleaned is not None:
        fields += [*ADDED, *((column(item), type_of(kind)) for item, kind in cleaned)]
        told["cleaned"] = cleaned
    return Shape(
        items,
        cleaned,
        pa.schema(fields),
        orjson.dumps(told)[:-1] + b',"rows":',
        {item: ITEMS + at for at, item in enumerate(items)},
        {item: first + at for at, (item, _) in enumerate(cleaned or ())},
    )


def type_text(kind: pa.DataType) -> str:
    """An item's cleaned type as small cars spell it."""
    return f"decimal({kind.precision},{kind.scale})" if pa.types.is_decimal(kind) else _SPELLED[kind]


def type_of(text: str) -> pa.DataType:
    """The inverse of `type_text`; raises ValueError."""
    if text in _PLAIN:
        return _PLAIN[text]
    if found := re.fullmatch(r"decimal\((\d+),(\d+)\)", text):
        return pa.decimal128(int(found[1]), int(found[2]))
    raise ValueError(f"no item has the type {text!r}")


_PLAIN = {
    "integer": arrow_type("integer"),
    "float": arrow_type("float"),
    "boolean": arrow_type("boolean"),
    "date": arrow_type("date"),
    "timestamp": arrow_type("timestamp"),
    "text": arrow_type("string"),
}
_SPELLED = {kind: text for text, kind in _PLAIN.items()}


#: The largest numbers of the columns before _unchanged.
_MOST = [
    *((1 << kind.bit_width) - 1 for _, kind in META[:COMMIT]),
    (1 << 63) - 1,
]
_HEX = re.compile(r"(?:[0-9a-f]{2})*").fullmatch


@dataclass(slots=True)
class SmallCar:
    """rows: one list a row, as the module says; shorter or longer ones are no car."""

    shape: Shape
    rows: list[Row] = field(default_factory=list)

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    @property
    def sound(self) -> bool:
        """Whether the columns of a raw car hold what they should; nobody else checks it."""
        return all(
            all(type(value) is int and 0 <= value <= most for value, most in zip(row, _MOST, strict=False))
            and all(value is None or type(value) is str for value in row[UNCHANGED:])
            and (row[UNCHANGED] is None or _HEX(row[UNCHANGED]) is not None)
            for row in self.rows
        )

    def batch(self) -> pa.RecordBatch:
        """The same car in Arrow. Raises ValueError for values that are not of their column's type."""
        return to_batch(self.shape, self.rows)

    def dump(self) -> bytes:
        """The car as it is in a train."""
        return self.shape.head + orjson.dumps(self.rows) + b"}"


def load(piece: bytes) -> SmallCar:
    """The inverse of `SmallCar.dump`. Raises ValueError for anything that is no small car."""
    told = orjson.loads(piece)
    try:
        cleaned = told.get("cleaned")
        found = shape(
            tuple(told["items"]), None if cleaned is None else tuple((name, kind) for name, kind in cleaned)
        )
        rows = told["rows"]
        width = len(found.schema)
        if any(len(row) != width for row in rows):
            raise ValueError(f"a row has not the {width} values of its columns")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no small car: {error!r}") from error
    return SmallCar(found, rows)


def to_batch(columns: Shape, rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows of one shape as an Arrow car."""
    count = len(rows)
    try:
        by_column = [list(values) for values in zip(*rows, strict=True)] or [[] for _ in columns.schema]
        commits = _numbers(columns.schema.field(COMMIT).type, "q", by_column[COMMIT])
        arrays = [
            *(_numbers(kind, code, by_column[at]) for at, (kind, code) in enumerate(_NUMBERS)),
            commits,
            _bitmaps(by_column[UNCHANGED]),
        ]
        # One array for all as-written items: an array each would cost five times as much.
        texts = pa.array([text for values in by_column[ITEMS : columns.key] for text in values], pa.utf8())
        arrays += [texts.slice(at * count, count) for at in range(len(columns.items))]
        if columns.cleaned is not None:
            kinds = columns.schema.types[columns.key :]
            arrays += [
                typed(kind, values) for kind, values in zip(kinds, by_column[columns.key :], strict=True)
            ]
    except (TypeError, ArithmeticError, OverflowError) as error:
        raise ValueError(f"a value is not of its column's type: {error}") from error
    return pa.RecordBatch.from_arrays(arrays, schema=columns.schema)


def of_batch(batch: pa.RecordBatch) -> SmallCar | None:
    """A clean car in Arrow as a small one; None where JSON has no way to write a value of it."""
    names = batch.schema.names
    first = names.index("_key")
    items = tuple(name[len(WRITTEN) :] for name in names[ITEMS:first])
    fields = [batch.schema.field(at) for at in range(first + len(ADDED), len(names))]
    columns = shape(items, tuple((item_of(field.name), type_text(field.type)) for field in fields))
    try:
        values = [_plain(values) for values in batch.columns[first:]]
    except (ValueError, OverflowError):
        return None
    meta = [values.to_pylist() for values in batch.columns[:first]]
    meta[COMMIT] = batch.column(COMMIT).view(pa.int64()).to_pylist()
    meta[UNCHANGED] = [None if bits is None else bits.hex() for bits in meta[UNCHANGED]]
    return SmallCar(columns, [list(row) for row in zip(*meta, *values, strict=True)])


def _plain(column: pa.Array) -> list[Any]:
    """The inverse of `typed`. Raises ValueError for a number that JSON has none of."""
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(column.type) and not all(value is None or isfinite(value) for value in values):
        raise ValueError("a number that is none, or endless")
    return spelled(column.type, values)


def spelled(kind: pa.DataType, values: list[Any]) -> list[Any]:
    """Python's values of a type as a small car has them."""
    if pa.types.is_decimal(kind):
        return [None if value is None else f"{value:f}" for value in values]
    if pa.types.is_date(kind):
        return [None if value is None else value.isoformat() for value in values]
    if pa.types.is_timestamp(kind):
        return [
            None if value is None else value.isoformat(timespec="microseconds")[:-6] + "Z" for value in values
        ]
    return values


_NUMBERS = [(kind, {pa.uint8(): "B", pa.uint32(): "I", pa.uint64(): "Q"}[kind]) for _, kind in META[:COMMIT]]


def _numbers(kind: pa.DataType, code: str, values: Iterable[int]) -> pa.Array:
    numbers = array(code, values)
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)])


def _bitmaps(values: Sequence[str | None]) -> pa.Array:
    if not any(values):
        return pa.nulls(len(values), pa.binary())
    return pa.array([None if bits is None else bytes.fromhex(bits) for bits in values], pa.binary())


def typed(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    """Values of a small car as a column of their type."""
    if pa.types.is_date(kind):
        values = [None if value is None else date.fromisoformat(value) for value in values]
    elif pa.types.is_timestamp(kind):
        values = [None if value is None else datetime.fromisoformat(value) for value in values]
    elif pa.types.is_decimal(kind):
        values = [None if value is None else Decimal(value) for value in values]
    return pa.array(values, kind)
