"""`sinks.latest` of a handful of rows, row by row: a data frame takes a millisecond to begin. Pure.

Only where all is plain: anything else (None) goes the way of many rows.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from datarail.small_car import COMMIT, EPOCH, FEW, IDX, OP, PART, POS, UNCHANGED, Shape, SmallCar, type_text
from datarail.train import Car
from sinks.held import Held, at_fault, newest

_OPS = frozenset(b"curd")
_DELETE = ord("d")


class FewRow(NamedTuple):
    """One change. version: as sinks.latest's; commit: µs; values: of the items asked for, as a small
    car spells them."""

    key: str
    version: str
    op: int
    commit: int
    values: list[Any]


@dataclass(slots=True)
class FewLatest:
    """As sinks.latest's. good: one row a source key, its last change, sorted by key. overtaken: the
    other good rows. held: the source keys whose last change is held, sorted by key."""

    good: list[FewRow] = field(default_factory=list)
    overtaken: list[FewRow] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)

    def without_void(self, truncated: bytes | None) -> FewLatest:
        """Without the rows that a truncate has made void before they came (`not_void`)."""
        if truncated is None:
            return self
        text = truncated.decode()
        good = [row for row in self.good if row.version >= text]
        return FewLatest(good, self.overtaken, [row for row in self.held if row.version > text])


def latest_few(cars: Sequence[Car], items: Mapping[str, pa.DataType]) -> FewLatest | None:
    """Reduce clean cars of one resource, in order of arrival; items: those to keep, typed.

    None for cars that are not small, too many rows, truncates, and items asked for that were not
    sent, are not there or of another type.
    """
    if sum(car.num_rows for car in cars) > FEW:
        return None
    wanted = tuple(items.items())
    rows: list[FewRow] = []
    held: list[Held] = []
    findings: list[tuple[str, str | None]] = []
    for car in cars:
        if not isinstance(car, SmallCar):
            return None
        places = _places(car.shape, wanted)
        if places is None:
            return None
        key, marked = car.shape.key, _marked(car.shape, wanted)
        for row in car.rows:
            bits = row[UNCHANGED]
            if row[OP] not in _OPS:
                return None
            if bits is not None and int.from_bytes(bytes.fromhex(bits), "little") & marked:
                return None
            if row[EPOCH] >> 16 or row[IDX] >> 44:
                return None
            passed = not row[key + 1]
            version = row[EPOCH] << 112 | row[POS] << 48 | row[IDX] << 4 | row[PART] << 2 | passed << 1
            values = [row[place] for place in places]
            if passed or row[OP] == _DELETE:
                rows.append(FewRow(row[key], f"{version:032x}", row[OP], row[COMMIT], values))
                continue
            held.append(Held(row[key], f"{version:032x}", row[COMMIT], dict(zip(items, values, strict=True))))
            findings.append((held[-1].version, row[key + 2]))
    good, overtaken = _last_by_key(rows)
    if held:
        known = {row.key: row.version for row in good}
        held.sort(key=lambda row: (row.key, row.version))
        waiting = [row for row in held if row.version > known.get(row.key, "")]
        held = newest(waiting, at_fault(findings, items))
    return FewLatest(good, overtaken, held)


def _last_by_key(rows: list[FewRow]) -> tuple[list[FewRow], list[FewRow]]:
    if len(rows) < 2:
        return rows, []
    # Stable: of equal versions the one that arrived later wins.
    rows.sort(key=lambda row: (row[0], row[1]))
    last: list[FewRow] = []
    others: list[FewRow] = []
    for at, each in enumerate(rows):
        is_last = at + 1 == len(rows) or rows[at + 1].key != each.key
        (last if is_last else others).append(each)
    return last, others


@functools.lru_cache(maxsize=1024)
def _places(columns: Shape, wanted: tuple[tuple[str, pa.DataType], ...]) -> list[int] | None:
    there = dict(columns.cleaned or ())
    if any(there.get(item) != type_text(kind) for item, kind in wanted):
        return None
    return [columns.values[item] for item, _ in wanted]


@functools.lru_cache(maxsize=1024)
def _marked(columns: Shape, wanted: tuple[tuple[str, pa.DataType], ...]) -> int:
    """The bits of the wanted items in _unchanged."""
    names = {item for item, _ in wanted}
    return sum(1 << at for at, item in enumerate(columns.items) if item in names)
