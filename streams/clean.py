"""Cleaning cars: the pure core. As-written columns in, cleaned ones beside them out.

Cars of any number of resources are cleaned together: their items' values by kind (streams.kind), each
kind in one long column (streams.values), which is then divided among the cars again. An expression
costs as much to begin as some hundred rows, so a car of a thousand, one of ninety tables', costs
hardly more a row than one of ten thousand.

Deletes and truncates bring only a key: nothing else of them is cleaned, no rule applies. An
item the source left out because it did not change (_unchanged) is null in the cleaned columns
and no rule applies to it. An item of the contract that the car does not have any more is null
everywhere, with one soft finding for the whole car.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa

from datarail.columns import META, WRITTEN, column
from datarail.contract import Resource
from datarail.keys import key_column
from datarail.types import arrow_type
from streams.filtering import leave_out
from streams.findings import Findings, Mask
from streams.kind import Kind
from streams.second_look import look_again, map_codes
from streams.values import MISSING, Load, Values

_META_NAMES = [name for name, _ in META]
_FRAMED = [name for name in _META_NAMES if name != "_unchanged"]
_KEY_SPECIALS = '["\\\\\x00-\x1f]'

#: What data can do to Polars and Arrow. A panic is no Exception. Anything else is a bug of ours.
DATA_ERRORS: tuple[type[BaseException], ...] = (
    pl.exceptions.PanicException,
    pl.exceptions.PolarsError,
    pa.ArrowException,
    ValueError,
    OverflowError,
)


@dataclass(slots=True)
class Cleaned:
    """One cleaned car.

    batch: the car for the clean train, held rows included.
    frame: meta columns, _key and the cleaned columns as Polars sees them, row for row.
    filtered: changes the contract asked to leave out; they are not in batch.
    missing: items of the contract the car did not have.
    held_by_rule: held changes by the rule that held them.
    """

    batch: pa.RecordBatch
    frame: pl.DataFrame
    findings: Findings
    filtered: int = 0
    missing: tuple[str, ...] = ()
    held_by_rule: Counter[str] | None = None


class Cleaner:
    """Cleans the cars of one resource by its contract.

    Raises ContractError where a check of the contract cannot be made a rule.
    """

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self._kinds = {name: Kind(name, resource.items) for name in resource.items}
        self._types = {
            column(name): arrow_type(item.type, item.precision, item.scale)
            for name, item in resource.items.items()
        }

    def clean(self, car: pa.RecordBatch, now: datetime | None = None) -> Cleaned:
        """Clean a raw car (datarail.train.raw_schema; any number of rows, one lane).

        `now` is the moment rules judge by; by default the present.
        """
        return clean_together([(self, car)], now)[0]

    def hold(self, car: pa.RecordBatch, error: str, rule: str = "cleaning") -> Cleaned:
        """A car whose rows cannot pass for a reason no rule foresaw: all held, nothing cleaned."""
        load = self._load(car)
        message = f"这条变更无法通过，已整条留存待查（{error[:200]}）"
        for row in range(car.num_rows):
            load.findings.add(row, rule, "", None, "hard", "conformity", None, message)
        return self._unloaded(load, pl.DataFrame(pl.from_arrow(car.select(_FRAMED))))

    def load(self, car: pa.RecordBatch, found: dict[bytes, Values], now: datetime) -> Load:
        """A car less what is to be left out, its values added to those of their kind. found: by signature."""
        car, filtered = leave_out(car, self.resource)
        load = self._load(car, filtered)
        for name, kind in self._kinds.items():
            if name not in load.missing:
                values = found.get(kind.signature)
                if values is None:
                    values = found[kind.signature] = Values(kind, now)
                values.add(kind, load)
        return load

    def unload(self, load: Load, frame: pl.DataFrame) -> Cleaned:
        """The cleaned car, when its values have been read and judged. frame: its meta columns."""
        if load.missing:
            _tell_missing(load)
        return self._unloaded(load, frame)

    def _load(self, car: pa.RecordBatch, filtered: int = 0) -> Load:
        ops = car.column("_op").to_numpy()
        gone = (ops == ord("d")) | (ops == ord("t"))
        columns = dict(zip(car.schema.names, car.columns, strict=True))
        return Load(
            car,
            columns,
            self.resource,
            gone if gone.any() else None,
            _unsent(car),
            Findings(car.num_rows),
            tuple(name for name in self._kinds if WRITTEN + name not in columns),
            filtered,
        )

    def _unloaded(self, load: Load, frame: pl.DataFrame) -> Cleaned:
        keys = _keys(load, frame)
        cleaned = [load.cleaned(name) for name in self._kinds]
        findings = load.findings
        return Cleaned(
            self._batch(load, keys),
            frame.hstack([keys, *cleaned]),
            findings,
            load.filtered,
            load.missing,
            findings.held_by_rule() if findings else None,
        )

    def _batch(self, load: Load, keys: pl.Series) -> pa.RecordBatch:
        """The clean car."""
        key, columns = self.resource.key, load.columns
        told = columns.get(WRITTEN + key[0]) if len(key) == 1 else None
        if told is None or told.null_count:
            told = keys.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.utf8())
        fresh = [
            load.values[name].array if name in load.values else pa.nulls(load.rows, kind)
            for name, kind in zip(self._kinds, self._types.values(), strict=True)
        ]
        findings = load.findings
        return pa.RecordBatch.from_arrays(
            [*columns.values(), told, pa.array(findings.held), findings.column(), *fresh],
            names=[*columns, "_key", "_held", "_findings", *self._types],
        )


def clean_together(
    cars: Sequence[tuple[Cleaner, pa.RecordBatch]], now: datetime | None = None
) -> list[Cleaned]:
    """Clean raw cars (datarail.train.raw_schema), each by its resource's contract.

    `now` is the moment rules judge by; by default the present.
    """
    if not cars:
        return []
    found: dict[bytes, Values] = {}
    now = now or datetime.now(UTC)
    loads = [cleaner.load(car, found, now) for cleaner, car in cars]
    for values in found.values():
        if values.read():
            for doubt in values.doubts():
                look_again(values, doubt)
        map_codes(values)
    for values in found.values():
        values.judge()
    meta = pl.from_arrow(pa.Table.from_batches([load.car.select(_FRAMED) for load in loads]))
    assert isinstance(meta, pl.DataFrame)
    meta = meta.rechunk()
    cleaned, start = [], 0
    for (cleaner, _), load in zip(cars, loads, strict=True):
        cleaned.append(cleaner.unload(load, meta.slice(start, load.rows)))
        start += load.rows
    for values in found.values():
        values.let_go()
    return cleaned


def carried(car: pa.RecordBatch) -> Cleaned:
    """A car of a resource that is in no contract: as written, nothing cleaned, nothing held.

    A department's change is never lost; each row's key is its identity.
    """
    frame = pl.DataFrame(pl.from_arrow(car.select(_META_NAMES))).with_columns(key_column([]))
    key = frame.get_column("_key").to_arrow(compat_level=pl.CompatLevel.oldest())
    findings = Findings(car.num_rows)
    batch = pa.RecordBatch.from_arrays(
        [*car.columns, key.cast(pa.utf8()), pa.array(findings.held), findings.column()],
        names=[*car.schema.names, "_key", "_held", "_findings"],
    )
    return Cleaned(batch, frame, findings)


def _unsent(car: pa.RecordBatch) -> dict[str, Mask]:
    """By item the rows whose value the source left out, where there are any."""
    bitmaps = car.column("_unchanged")
    if bitmaps.null_count == car.num_rows:
        return {}
    items = [name[len(WRITTEN) :] for name in car.schema.names if name.startswith(WRITTEN)]
    width = (len(items) + 7) // 8
    packed = np.zeros((car.num_rows, width), dtype=np.uint8)
    for row, bitmap in enumerate(bitmaps.to_pylist()):
        if bitmap:
            packed[row, : len(bitmap)] = np.frombuffer(bitmap[:width], dtype=np.uint8)
    bits = np.unpackbits(packed, axis=1, bitorder="little").astype(bool)
    return {name: bits[:, i] for i, name in enumerate(items) if bits[:, i].any()}


def _keys(load: Load, frame: pl.DataFrame) -> pl.Series:
    """The source keys (datarail.keys). Without its key column a row is a thing of its own, as in a table
    without a key."""
    key = load.resource.key
    if any(WRITTEN + item not in load.columns for item in key):
        key = []
    if len(key) == 1:
        told = pl.Series("_key", load.columns[WRITTEN + key[0]])
        return told.fill_null("") if told.null_count() else told
    frame = frame.hstack([pl.Series(WRITTEN + item, load.columns[WRITTEN + item]) for item in key])
    if not key:
        return frame.select(key_column([])).to_series()
    parts = [pl.col(WRITTEN + item) for item in key]
    special = pl.any_horizontal(
        part.str.contains(_KEY_SPECIALS).any() | part.is_null().any() for part in parts
    )
    if frame.select(special.alias("special")).item():
        return frame.select(key_column(key)).to_series()
    # Escaping costs 35 passes a column; most keys hold nothing that needs it.
    between = [piece for part in parts for piece in (pl.lit('","'), part)][1:]
    return frame.select(pl.concat_str([pl.lit('["'), *between, pl.lit('"]')]).alias("_key")).to_series()


def _tell_missing(load: Load) -> None:
    rows = np.flatnonzero(~load.gone) if load.gone is not None else np.arange(load.rows)
    for name in load.missing if len(rows) else ():
        item = load.resource.items[name]
        message = f"源表中已没有“{item.title or name}”这一列，按空值处理，请核对源表或修订数据契约"
        load.findings.add(
            *(int(rows[0]), "schema", name, item, "soft", "completeness", None, message), order=(MISSING,)
        )
