"""The values of one kind in all cars that are cleaned together, as one long column.

The good case is two or three passes over it: read every value, look for doubtful ones, judge. Only a
column with doubtful values is looked at again, and only the values at fault are met one by one, to
say what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from datarail.columns import WRITTEN, column
from datarail.contract import Item, Resource, Severity
from datarail.types import arrow_type
from streams.blanks import may_have
from streams.clock import CHINA
from streams.findings import Findings, Mask, Order
from streams.kind import Kind
from streams.plan import polars_type
from streams.rules.port import NOW, TODAY, Rule

#: Of what cleaning finds in a row, what comes first: what was mended, codes, the rules, missing items.
MENDED, CODED, _JUDGED, MISSING = range(4)


@dataclass(slots=True)
class Load:
    """A raw car that is being cleaned.

    columns: its own, by name. gone: rows no rule applies to (deletes, truncates); None: none of them. unsent:
    by item the rows whose value the source left out, where there are any. missing: items of the contract
    that the car does not have. filtered: rows that were left out before. values: by item, where its
    values are; not of missing ones.
    """

    car: pa.RecordBatch
    columns: Mapping[str, pa.Array]
    resource: Resource
    gone: Mask | None
    unsent: Mapping[str, Mask]
    findings: Findings
    missing: tuple[str, ...]
    filtered: int
    values: dict[str, Piece] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """The height of the car."""
        return len(self.findings.held)

    def cleaned(self, item: str) -> pl.Series:
        """The cleaned values of an item, all null where the car does not have it."""
        if item in self.values:
            return self.values[item].value.alias(column(item))
        return pl.Series(column(item), [None], polars_type(self.resource.items[item])).new_from_index(
            0, self.rows
        )


@dataclass(slots=True)
class Piece:
    """One item's values of one car, among all of the kind. kind: with the item's own names.
    order: the item's among those of its contract. as_written: the cleaned values are the written ones."""

    all: Values
    kind: Kind
    load: Load
    start: int
    order: int
    as_written: bool

    @property
    def item(self) -> str:
        return self.kind.plan.name

    @property
    def title(self) -> str:
        """What people call the item."""
        return self.kind.plan.item.title or self.item

    @property
    def value(self) -> pl.Series:
        return self.all.value.slice(self.start, self.load.rows)

    @property
    def array(self) -> pa.Array:
        """The cleaned values as the clean car has them."""
        if self.as_written:
            return self.load.columns[WRITTEN + self.item]
        return self.all.array().slice(self.start, self.load.rows)

    def tell(self, row: int, rule: str, severity: Severity, told: str, message: str, stage: int) -> None:
        """Note what a second look has found of a value. told: as written."""
        findings, item = self.load.findings, self.kind.plan.item
        order = (stage, self.order)
        findings.add(row, rule, self.item, item, severity, "conformity", told, message, order=order)


class Values:
    """Filled piece by piece, then read, then judged. Expressions have the first piece's names."""

    written: pl.Series
    value: pl.Series

    def __init__(self, kind: Kind, now: datetime) -> None:
        self.kind = kind
        self._now = now
        self._pieces: list[Piece] = []
        self._height = 0
        self._gone: Mask | None = None
        #: Values told to be unreadable: that they are not there needs no second finding.
        self.lost: Mask | None = None
        self._verdicts: list[pl.Series] | None = None
        self._array: pa.Array | None = None

    def add(self, kind: Kind, load: Load) -> None:
        """Take in an item of a car."""
        plan = kind.plan
        piece = Piece(self, kind, load, self._height, len(load.values), plan.is_text and not plan.codes)
        self._pieces.append(piece)
        self._height += load.rows
        load.values[plan.name] = piece

    def read(self) -> bool:
        """Read all values where they are spelled as expected; whether any needs a second look."""
        kind, plan = self.kind, self.kind.plan
        pieces = [each.load.columns[WRITTEN + each.item] for each in self._pieces]
        # Polars keeps the cars' own memory; the joined texts are only looked at.
        self.written = pl.Series(WRITTEN + plan.name, pa.chunked_array(pieces)).rechunk()
        texts = pa.concat_arrays(pieces)
        self._only_keys_of_the_gone(texts)
        plain = plan.item.type != "string" or not may_have(texts)
        if not plain:
            for each in self._pieces:
                each.as_written = each.as_written and not may_have(texts.slice(each.start, each.load.rows))
            self.value = self.written.str.strip_chars().alias(column(plan.name))
        elif plan.is_text:
            self.value = self.written.alias(column(plan.name))
        else:
            self.value = self.written.to_frame().select(kind.read).to_series()
        if not plain or self.value.null_count() > self.written.null_count():
            return True
        # Where nothing is doubtful it is judged in the same pass.
        wrong = kind.wrong if kind.alone and self._height else []
        if not kind.doubtful and not wrong:
            return False
        asked = self._frame().select(*kind.doubtful, *wrong).get_columns()
        if kind.doubtful and asked[0].item(0):
            return True
        self._verdicts = asked[len(kind.doubtful) :] if wrong else None
        return False

    def doubts(self) -> Iterator[str]:
        """What a second look is to look for (ItemPlan.doubts)."""
        if self.kind.doubts:
            told = self._frame().select(self.kind.doubts.values()).row(0, named=True)
            yield from (what for what, holds in told.items() if holds)

    def judge(self) -> None:
        """Ask the rules, when the values of all kinds are as they stay."""
        if not self.kind.rules or not self._height:
            return
        if self._verdicts is None:
            frame = self._frame().with_columns(self._others()) if self.kind.others else self._frame()
            self._verdicts = frame.select(self.kind.wrong).get_columns()
        for number, (rule, verdict) in enumerate(zip(self.kind.rules, self._verdicts, strict=True)):
            if not (verdict.any() if verdict.dtype == pl.Boolean else verdict.max()):
                continue
            bits = self._bits(rule, verdict)
            for at, piece, row in self.located(np.flatnonzero(bits)):
                kind, order = piece.kind, (_JUDGED, piece.order, number)
                value, found = self.value[at], int(bits[at])
                tell(kind.rules[number], kind.plan.item, value, found, row, piece.load.findings, order)

    def located(self, places: npt.NDArray[np.intp]) -> Iterator[tuple[int, Piece, int]]:
        """Places in the column, each with its piece and its row there; not those that no rule applies to."""
        if self._gone is not None:
            places = places[~self._gone[places]]
        pieces = np.searchsorted(self._starts, places, side="right") - 1
        for at, number in zip(places.tolist(), pieces.tolist(), strict=True):
            piece = self._pieces[number]
            yield at, piece, at - piece.start

    def change(self, places: npt.NDArray[np.intp], value: pl.Series) -> None:
        """Put other values in place of those that were read. places: where they may differ."""
        self.value = value.alias(self.value.name)
        for number in np.unique(np.searchsorted(self._starts, places, side="right") - 1).tolist():
            self._pieces[number].as_written = False

    def array(self) -> pa.Array:
        """All cleaned values in their Arrow type."""
        if self._array is None:
            item = self.kind.plan.item
            array = self.value.to_arrow(compat_level=pl.CompatLevel.oldest())
            self._array = array.cast(arrow_type(item.type, item.precision, item.scale))
        return self._array

    def let_go(self) -> None:
        """Forget the cars. They and the values know each other: else all would stay in memory until
        Python looks for cycles."""
        for piece in self._pieces:
            piece.load.values.clear()
        self._pieces.clear()

    @property
    def _starts(self) -> list[int]:
        return [piece.start for piece in self._pieces]

    def _frame(self) -> pl.DataFrame:
        columns = [self.written, self.value]
        if self.kind.asks_now:
            now = pl.Series(NOW, [self._now], pl.Datetime("us", "UTC"))
            columns.append(now.new_from_index(0, self._height))
        if self.kind.asks_today:
            today = pl.Series(TODAY, [self._now.astimezone(CHINA).date()], pl.Date())
            columns.append(today.new_from_index(0, self._height))
        return pl.DataFrame(columns)

    def _others(self) -> list[pl.Series]:
        return [
            pl.concat([each.load.cleaned(each.kind.others[number]) for each in self._pieces]).alias(
                column(other)
            )
            for number, other in enumerate(self.kind.others)
        ]

    def _only_keys_of_the_gone(self, texts: pa.Array) -> None:
        # With REPLICA IDENTITY FULL a delete brings the whole old row: as written it is kept.
        if all(each.load.gone is None for each in self._pieces):
            return
        self._gone = np.concatenate([
            np.zeros(each.load.rows, bool) if each.load.gone is None else each.load.gone
            for each in self._pieces
        ])  # fmt: skip
        told = self._gone & texts.is_valid().to_numpy(zero_copy_only=False)
        for each in self._pieces:
            if each.item in each.load.resource.key:
                told[each.start : each.start + each.load.rows] = False
            elif told[each.start : each.start + each.load.rows].any():
                each.as_written = False
        if told.any():
            nothing = pl.Series([None], dtype=pl.String).new_from_index(0, self._height)
            self.written = nothing.zip_with(pl.Series(told), self.written).alias(self.written.name)

    def _bits(self, rule: Rule, verdict: pl.Series) -> npt.NDArray[np.uint16]:
        bits = np.zeros(self._height, dtype=np.uint16)
        told = verdict.to_arrow()
        # Null counts as right.
        told = told.fill_null(False if verdict.dtype == pl.Boolean else 0) if told.null_count else told
        bits[:] = told.to_numpy(zero_copy_only=False)
        for each in self._pieces:
            if each.item in each.load.unsent:
                bits[each.start : each.start + each.load.rows][each.load.unsent[each.item]] = 0
        if rule.name == "required" and self.lost is not None:
            bits[self.lost] = 0
        return bits


def tell(
    rule: Rule, spec: Item, value: object, bits: int, row: int, findings: Findings, order: Order = ()
) -> None:
    """Add what a rule finds of one value. spec: of the rule's item; bits: bit i for reason i."""
    title = spec.title or rule.item
    text = "" if value is None else str(value)
    for bit, reason in enumerate(rule.reasons):
        if bits >> bit & 1:
            told = reason.tell(title, text)
            findings.add(
                *(row, rule.name, rule.item, spec, reason.severity, reason.dimension, text, told), order=order
            )
