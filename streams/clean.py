"""Cleaning one car: the pure core. As-written columns in, cleaned ones beside them out.

The good case is three passes of expressions over whole columns: read every item, look for
doubtful values, judge. Only a column with doubtful values is looked at again, and only rows at
fault are met one by one, to say what is wrong with them.

Deletes and truncates bring only a key: nothing else of them is cleaned, no rule applies. An
item the source left out because it did not change (_unchanged) is null in the cleaned columns
and no rule applies to it. An item of the contract that the car does not have any more is null
everywhere, with one soft finding for the whole car.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from datarail.contract import Resource
from datarail.keys import key_column, key_text
from datarail.position import Identity
from datarail.train import META, WRITTEN, column
from datarail.types import arrow_type
from streams.clock import CHINA
from streams.filtering import leave_out
from streams.findings import Findings, Mask
from streams.plan import Plan, polars_type
from streams.rules.port import NOW, TODAY, Reason
from streams.second_look import look_again, map_codes

_META_NAMES = [name for name, _ in META]
_KEY_SPECIALS = '["\\\\\x00-\x1f]'


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
        self._plans: dict[frozenset[str], Plan] = {}
        self._plan(frozenset(resource.items))

    def clean(self, car: pa.RecordBatch, now: datetime | None = None) -> Cleaned:
        """Clean a raw car (datarail.train.raw_schema; any number of rows, one lane).

        `now` is the moment rules judge by; by default the present.
        """
        now = now or datetime.now(UTC)
        car, filtered = leave_out(car, self.resource)
        written = [name[len(WRITTEN) :] for name in car.schema.names if name.startswith(WRITTEN)]
        plan = self._plan(frozenset(written))
        frame = _frame(car, plan)
        judged, known = _scope(car, written)
        if judged is not None:
            frame = _blank_unjudged(frame, judged, plan, self.resource.key)
        findings = Findings(car.num_rows)
        frame = frame.with_columns(
            *plan.first,
            pl.lit(now).cast(pl.Datetime("us", "UTC")).alias(NOW),
            pl.lit(now.astimezone(CHINA).date()).alias(TODAY),
        )
        unread: dict[str, Mask] = {}
        if plan.doubts:
            doubts = frame.select(plan.doubts).row(0, named=True)
            for doubt, holds in doubts.items():
                if holds:
                    what, _, name = doubt.partition(" ")
                    frame = look_again(frame, plan.plans[name], what, judged, findings, unread)
        frame = map_codes(frame, plan, judged, findings)
        _judge(frame, plan, judged, known, unread, findings)
        if plan.missing:
            _tell_missing(plan, judged, findings)
        if len(self.resource.key) > 1:
            frame = frame.with_columns(self._long_key(frame))
        batch = self._assemble(car, frame, findings)
        columns = [name for name in _META_NAMES if name != "_unchanged"]
        columns += ["_key", *(column(name) for name in self.resource.items)]
        return Cleaned(
            batch,
            frame[columns],
            findings,
            filtered,
            tuple(plan.missing),
            findings.held_by_rule() if findings else None,
        )

    def hold(self, car: pa.RecordBatch, error: str) -> Cleaned:
        """A car whose rows cannot be cleaned for a reason no rule foresaw: all held, nothing cleaned."""
        written = [name[len(WRITTEN) :] for name in car.schema.names if name.startswith(WRITTEN)]
        plan = self._plan(frozenset(written))
        findings = Findings(car.num_rows)
        message = f"这条变更无法清洗，已整条留存待查（{error[:200]}）"
        for row in range(car.num_rows):
            findings.add(row, "cleaning", "", None, "hard", "conformity", None, message)
        key = self.resource.key
        meta = car.select(["_epoch", "_pos", "_idx", "_part"]).to_pylist()
        parts = [
            [car.column(WRITTEN + item)[row].as_py() for item in key if item in written]
            for row in range(car.num_rows)
        ]
        keys = [key_text(told, Identity(*about.values())) for told, about in zip(parts, meta, strict=True)]
        frame = _frame(car, plan).select(name for name in _META_NAMES if name != "_unchanged")
        frame = frame.with_columns(
            pl.Series("_key", keys, dtype=pl.String),
            *(
                pl.lit(None, dtype=polars_type(item)).alias(column(name))
                for name, item in self.resource.items.items()
            ),
        )
        return Cleaned(
            self._assemble(car, frame, findings),
            frame,
            findings,
            0,
            tuple(plan.missing),
            findings.held_by_rule(),
        )

    def _plan(self, written: frozenset[str]) -> Plan:
        plan = self._plans.get(written)
        if plan is None:
            plan = self._plans[written] = Plan(self.resource, written)
        return plan

    def _long_key(self, frame: pl.DataFrame) -> pl.Expr:
        key = self.resource.key
        if any(WRITTEN + item not in frame.columns for item in key):
            return key_column([])
        parts = [pl.col(WRITTEN + item) for item in key]
        special = pl.any_horizontal(
            part.str.contains(_KEY_SPECIALS).any() | part.is_null().any() for part in parts
        )
        if frame.select(special.alias("special")).item():
            return key_column(key)
        # Escaping costs 35 passes a column; most keys hold nothing that needs it.
        return pl.concat_str([pl.lit('["'), *_between(parts, pl.lit('","')), pl.lit('"]')]).alias("_key")

    def _assemble(self, car: pa.RecordBatch, frame: pl.DataFrame, findings: Findings) -> pa.RecordBatch:
        items = self.resource.items
        fresh = frame[["_key", *(column(name) for name in items)]]
        types = [pa.utf8(), *(arrow_type(item.type, item.precision, item.scale) for item in items.values())]
        table = fresh.to_arrow(compat_level=pl.CompatLevel.oldest())
        arrays = [
            _one_chunk(values).cast(kind) if values.type != kind else _one_chunk(values)
            for values, kind in zip(table.columns, types, strict=True)
        ]
        names = [*car.schema.names, "_key", "_held", "_findings", *fresh.columns[1:]]
        marks = [arrays[0], pa.array(findings.held), findings.column()]
        return pa.RecordBatch.from_arrays([*car.columns, *marks, *arrays[1:]], names=names)


def carried(car: pa.RecordBatch) -> Cleaned:
    """A car of a resource that is in no contract: as written, nothing cleaned, nothing held.

    A department's change is never lost; each row's key is its identity.
    """
    frame = pl.DataFrame(pl.from_arrow(car.select(_META_NAMES))).with_columns(key_column([]))
    key = _one_chunk(frame.select("_key").to_arrow(compat_level=pl.CompatLevel.oldest()).column(0))
    findings = Findings(car.num_rows)
    batch = pa.RecordBatch.from_arrays(
        [*car.columns, key.cast(pa.utf8()), pa.array(findings.held), findings.column()],
        names=[*car.schema.names, "_key", "_held", "_findings"],
    )
    return Cleaned(batch, frame, findings)


def _frame(car: pa.RecordBatch, plan: Plan) -> pl.DataFrame:
    names = [*(name for name in _META_NAMES if name != "_unchanged")]
    names += [WRITTEN + name for name in plan.present]
    return pl.DataFrame(pl.from_arrow(car.select(names)))


def _scope(car: pa.RecordBatch, written: list[str]) -> tuple[Mask | None, dict[str, Mask]]:
    """Rows rules apply to (None: all), and by item the rows whose value the source sent, where
    that is not all of them."""
    ops = car.column("_op").to_numpy()
    judged = (ops != ord("d")) & (ops != ord("t"))
    known: dict[str, Mask] = {}
    bitmaps = car.column("_unchanged")
    if bitmaps.null_count < car.num_rows:
        width = (len(written) + 7) // 8
        packed = np.zeros((car.num_rows, width), dtype=np.uint8)
        for row, bitmap in enumerate(bitmaps.to_pylist()):
            if bitmap:
                packed[row, : len(bitmap)] = np.frombuffer(bitmap[:width], dtype=np.uint8)
        bits = np.unpackbits(packed, axis=1, bitorder="little").astype(bool)
        known = {name: ~bits[:, i] for i, name in enumerate(written) if bits[:, i].any()}
    return (None if judged.all() else judged), known


def _blank_unjudged(frame: pl.DataFrame, judged: Mask, plan: Plan, key: list[str]) -> pl.DataFrame:
    # With REPLICA IDENTITY FULL a delete brings the whole old row: as written it is kept.
    names = [WRITTEN + name for name in plan.present if name not in key]
    return frame.with_columns(pl.when(pl.Series(judged)).then(pl.col(names)))


def _judge(
    frame: pl.DataFrame,
    plan: Plan,
    judged: Mask | None,
    known: dict[str, Mask],
    unread: dict[str, Mask],
    findings: Findings,
) -> None:
    if not plan.wrong or not frame.height:
        return
    verdicts = frame.select(plan.wrong)
    for rule, verdict in zip(plan.rules, verdicts.get_columns(), strict=True):
        if not (verdict.any() if verdict.dtype == pl.Boolean else verdict.max()):
            continue
        bits = verdict.cast(pl.UInt16).fill_null(0).to_numpy().copy()
        if len(bits) != frame.height:
            bits = np.broadcast_to(bits, frame.height).copy()
        if judged is not None:
            bits[~judged] = 0
        if rule.item in known:
            bits[~known[rule.item]] = 0
        if rule.name == "required" and rule.item in unread:
            bits[unread[rule.item]] = 0
        _tell(frame, plan, rule.name, rule.item, bits, rule.reasons, findings)


def _tell(
    frame: pl.DataFrame,
    plan: Plan,
    name: str,
    item: str,
    bits: npt.NDArray[np.uint16],
    reasons: tuple[Reason, ...],
    findings: Findings,
) -> None:
    values, spec = frame[column(item)], plan.items[item]
    title = spec.title or item
    for row in np.flatnonzero(bits).tolist():
        value = values[row]
        text = "" if value is None else str(value)
        for bit, reason in enumerate(reasons):
            if bits[row] >> bit & 1:
                findings.add(
                    row, name, item, spec, reason.severity, reason.dimension, text, reason.tell(title, text)
                )


def _tell_missing(plan: Plan, judged: Mask | None, findings: Findings) -> None:
    rows = np.flatnonzero(judged) if judged is not None else np.arange(len(findings.held))
    for name in plan.missing if len(rows) else ():
        title = plan.items[name].title or name
        message = f"源表中已没有“{title}”这一列，按空值处理，请核对源表或修订数据契约"
        findings.add(int(rows[0]), "schema", name, plan.items[name], "soft", "completeness", None, message)


def _one_chunk(values: pa.ChunkedArray) -> pa.Array:
    combined = values.combine_chunks()
    return combined.combine_chunks() if isinstance(combined, pa.ChunkedArray) else combined


def _between(parts: list[pl.Expr], separator: pl.Expr) -> list[pl.Expr]:
    woven = [parts[0]]
    for part in parts[1:]:
        woven += [separator, part]
    return woven
