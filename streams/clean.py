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
from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from datarail.columns import META, WRITTEN, column, raw_schema
from datarail.contract import Item, Resource
from datarail.keys import key_column, key_text
from datarail.position import Identity
from datarail.types import arrow_type
from streams.blanks import may_have
from streams.clock import CHINA
from streams.filtering import leave_out
from streams.findings import Findings, Mask
from streams.plan import Plan, polars_type
from streams.rules.port import NOW, TODAY, Rule
from streams.second_look import look_again, map_codes

_META_NAMES = [name for name, _ in META]
_FRAMED = [name for name in _META_NAMES if name != "_unchanged"]
_TEXT = pa.utf8()
_NO_TEXT = pa.array([], _TEXT)
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
    frame: meta columns, _key and the cleaned columns as Polars sees them, row for row, among others.
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
        self._types = {
            column(name): arrow_type(item.type, item.precision, item.scale)
            for name, item in resource.items.items()
        }
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._layout(raw_schema(list(resource.items)))

    def clean(self, car: pa.RecordBatch, now: datetime | None = None) -> Cleaned:
        """Clean a raw car (datarail.train.raw_schema; any number of rows, one lane).

        `now` is the moment rules judge by; by default the present.
        """
        now = now or datetime.now(UTC)
        car, filtered = leave_out(car, self.resource)
        layout = self._layout(car.schema)
        plan = layout.plan
        judged, known = _scope(car, layout)
        frame = pl.DataFrame(pl.from_arrow(car.select(layout.read)))
        texts = pa.concat_arrays([car.column(name) for name in layout.texts]) if layout.texts else _NO_TEXT
        # With REPLICA IDENTITY FULL a delete brings the whole old row: as written it is kept.
        bare = judged is None or _is_bare(texts, judged, layout)
        if judged is not None and not bare:
            frame = frame.with_columns(pl.when(pl.Series(judged)).then(pl.col(layout.blanked)))
        findings = Findings(car.num_rows)
        unread: dict[str, Mask] = {}
        plain = bare and not may_have(texts)
        frame = frame.with_columns(*(plan.plain if plain else plan.first), *_moments(plan, now))
        verdicts: pl.DataFrame | None = None
        same = plan.plans if plain else {}
        doubtful = not plain or any(
            frame.get_column(column(each.name)).null_count()
            > frame.get_column(WRITTEN + each.name).null_count()
            for each in plan.typed
        )
        if not doubtful and plan.at_once and car.num_rows:
            verdicts = frame.select(plan.at_once if not plan.coded else plan.at_once[: plan.asked])
            if plan.doubtful is not None:
                doubtful = bool(verdicts.to_series(0).any())
        if doubtful:
            verdicts = None
            for doubt, holds in frame.select(plan.doubts).row(0, named=True).items() if plan.doubts else ():
                if holds:
                    what, _, name = doubt.partition(" ")
                    frame = look_again(frame, plan.plans[name], what, judged, findings, unread)
                    same = {other: each for other, each in same.items() if other != name}
        frame = map_codes(frame, plan, judged, findings)
        if plan.wrong and car.num_rows:
            if verdicts is None or plan.coded:
                found = frame.select(plan.wrong).get_columns()
            else:
                found = verdicts.get_columns()[plan.asked :]
            _judge(frame, plan, found, judged, known, unread, findings)
        if plan.missing:
            _tell_missing(plan, judged, findings)
        if len(self.resource.key) > 1:
            frame = frame.with_columns(self._long_key(frame))
        as_written = {name for name, each in same.items() if each.is_text and not each.codes}
        batch = self._assemble(car, frame, findings, as_written)
        return Cleaned(
            batch,
            frame,
            findings,
            filtered,
            tuple(plan.missing),
            findings.held_by_rule() if findings else None,
        )

    def hold(self, car: pa.RecordBatch, error: str, rule: str = "cleaning") -> Cleaned:
        """A car whose rows cannot pass for a reason no rule foresaw: all held, nothing cleaned."""
        layout = self._layout(car.schema)
        plan, written = layout.plan, layout.written
        findings = Findings(car.num_rows)
        message = f"这条变更无法通过，已整条留存待查（{error[:200]}）"
        for row in range(car.num_rows):
            findings.add(row, rule, "", None, "hard", "conformity", None, message)
        key = self.resource.key
        meta = car.select(["_epoch", "_pos", "_idx", "_part"]).to_pylist()
        parts = [
            [car.column(WRITTEN + item)[row].as_py() for item in key if item in written]
            for row in range(car.num_rows)
        ]
        keys = [key_text(told, Identity(*about.values())) for told, about in zip(parts, meta, strict=True)]
        frame = pl.DataFrame(pl.from_arrow(car.select(_FRAMED))).with_columns(
            pl.Series("_key", keys, dtype=pl.String),
            *(
                pl.lit(None, dtype=polars_type(item)).alias(column(name))
                for name, item in self.resource.items.items()
            ),
        )
        return Cleaned(
            self._assemble(car, frame, findings, set()),
            frame,
            findings,
            0,
            tuple(plan.missing),
            findings.held_by_rule(),
        )

    def _layout(self, schema: pa.Schema) -> Layout:
        names = tuple(schema.names)
        layout = self._layouts.get(names)
        if layout is None:
            layout = self._layouts[names] = Layout(self.resource, names)
        return layout

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

    def _assemble(
        self, car: pa.RecordBatch, frame: pl.DataFrame, findings: Findings, as_written: Set[str]
    ) -> pa.RecordBatch:
        """The clean car. as_written: items whose cleaned column is the written one, row for row."""
        key, columns = self.resource.key, car.columns
        written = dict(zip(car.schema.names, columns, strict=True))
        arrays = {column(name): written[WRITTEN + name] for name in as_written}
        told = written.get(WRITTEN + key[0]) if len(key) == 1 else None
        if told is not None and not told.null_count:
            arrays["_key"] = told
        made = [name for name in ("_key", *self._types) if name not in arrays]
        if made:
            table = frame[made].to_arrow(compat_level=pl.CompatLevel.oldest())
            for name, values in zip(made, table.columns, strict=True):
                kind = self._types.get(name, _TEXT)
                array = _one_chunk(values)
                arrays[name] = array if array.type == kind else array.cast(kind)
        names = [*written, "_key", "_held", "_findings", *self._types]
        marks = [arrays["_key"], pa.array(findings.held), findings.column()]
        fresh = [arrays[name] for name in self._types]
        return pa.RecordBatch.from_arrays([*columns, *marks, *fresh], names=names)


class Layout:
    """What is known of cars with these columns: the plan, and column names by their use."""

    def __init__(self, resource: Resource, names: tuple[str, ...]) -> None:
        self.written = [name[len(WRITTEN) :] for name in names if name.startswith(WRITTEN)]
        self.plan = Plan(resource, frozenset(self.written))
        self.read = [*_FRAMED, *(WRITTEN + name for name in self.plan.present)]
        self.blanked = [WRITTEN + name for name in self.plan.present if name not in resource.key]
        #: What is blanked comes first.
        self.texts = [
            *self.blanked,
            *(name for name in self.read[len(_FRAMED) :] if name not in self.blanked),
        ]


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


def _scope(car: pa.RecordBatch, layout: Layout) -> tuple[Mask | None, dict[str, Mask]]:
    """Rows rules apply to (None: all), and by item the rows whose value the source sent, where
    that is not all of them."""
    ops = car.column("_op").to_numpy()
    judged = (ops != ord("d")) & (ops != ord("t"))
    known: dict[str, Mask] = {}
    bitmaps = car.column("_unchanged")
    if bitmaps.null_count < car.num_rows:
        width = (len(layout.written) + 7) // 8
        packed = np.zeros((car.num_rows, width), dtype=np.uint8)
        for row, bitmap in enumerate(bitmaps.to_pylist()):
            if bitmap:
                packed[row, : len(bitmap)] = np.frombuffer(bitmap[:width], dtype=np.uint8)
        bits = np.unpackbits(packed, axis=1, bitorder="little").astype(bool)
        known = {name: ~bits[:, i] for i, name in enumerate(layout.written) if bits[:, i].any()}
    return (None if judged.all() else judged), known


def _is_bare(texts: pa.Array, judged: Mask, layout: Layout) -> bool:
    """Whether the rows no rule applies to bring nothing but their key.

    texts: the columns of layout.texts one after the other.
    """
    if not layout.blanked:
        return True
    validity = texts.buffers()[0]
    if validity is None:
        return False
    bits = np.unpackbits(np.frombuffer(validity, dtype=np.uint8), bitorder="little")
    columns = bits[texts.offset : texts.offset + len(texts)].reshape(len(layout.texts), len(judged))
    return not columns[: len(layout.blanked), ~judged].any()


def _moments(plan: Plan, now: datetime) -> list[pl.Expr]:
    moments = []
    if plan.asks_now:
        moments.append(pl.lit(now).cast(pl.Datetime("us", "UTC")).alias(NOW))
    if plan.asks_today:
        moments.append(pl.lit(now.astimezone(CHINA).date()).alias(TODAY))
    return moments


def _judge(
    frame: pl.DataFrame,
    plan: Plan,
    verdicts: list[pl.Series],
    judged: Mask | None,
    known: dict[str, Mask],
    unread: dict[str, Mask],
    findings: Findings,
) -> None:
    for rule, verdict in zip(plan.rules, verdicts, strict=True):
        if not (verdict.any() if verdict.dtype == pl.Boolean else verdict.max()):
            continue
        bits = np.zeros(frame.height, dtype=np.uint16)
        told = verdict.to_arrow()
        # Null counts as right.
        told = told.fill_null(False if verdict.dtype == pl.Boolean else 0) if told.null_count else told
        bits[:] = told.to_numpy(zero_copy_only=False)
        if judged is not None:
            bits[~judged] = 0
        if rule.item in known:
            bits[~known[rule.item]] = 0
        if rule.name == "required" and rule.item in unread:
            bits[unread[rule.item]] = 0
        if bits.any():
            tell(frame, plan.items, rule, bits, findings)


def tell(
    frame: pl.DataFrame,
    items: Mapping[str, Item],
    rule: Rule,
    bits: npt.NDArray[np.uint16],
    findings: Findings,
) -> None:
    """Add what a rule finds in a cleaned frame. bits: row by row, bit i for reason i."""
    values, spec = frame[column(rule.item)], items[rule.item]
    title = spec.title or rule.item
    for row in np.flatnonzero(bits).tolist():
        value = values[row]
        text = "" if value is None else str(value)
        for bit, reason in enumerate(rule.reasons):
            if bits[row] >> bit & 1:
                told = reason.tell(title, text)
                findings.add(row, rule.name, rule.item, spec, reason.severity, reason.dimension, text, told)


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
