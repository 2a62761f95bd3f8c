"""What rows counted before and what they count now → what changes in the totals. Pure.

A local contribution is `<version><state><items>`: state S (counts) or D (deleted: counts nothing);
items are the texts of the items that indicators of the resource look at, in the order of their
names, each ended by \\x1f; a null is \\x1e. So any indicator can be counted from contributions
alone, and an item that a change left out (TOAST) keeps the text it had. What held changes have
brought comes after the last item, where nothing is counted (sinks.held).
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal

import orjson
import polars as pl
import pyarrow as pa

from datarail.columns import column
from datarail.errors import Terminal
from datarail.iso_texts import dates, moments
from sinks.held import DELETED, SET
from sinks.indicators.plan import Measure, ResourcePlan
from sinks.latest_few import FewRow
from sinks.plain_texts import Spell, text_speller
from sinks.texts import has_control, text_of
from sinks.version import VERSION_WIDTH

_END, _NULL = "\x1f", "\x1e"
_DELETE = ord("d")
_DAY_LENGTH = len("2024-05-03")
_LARGEST = (1 << 63) - 1
_EXACT = Context(prec=80)
#: Up to this many rows of different items are counted one by one: a data frame takes a millisecond
#: to begin.
FEW = 400

#: indicator → dimensions (a JSON list, as the field in Redis) → what is added to its total.
Totals = dict[str, dict[str, int]]


def contributions(frame: pl.DataFrame, plan: ResourcePlan) -> pl.Series:
    """The local contribution of each reduced row. The two separators cannot be in a text: where
    one was written, a blank stands for it."""
    made: list[pl.Series] = []
    for item in plan.items:
        values = frame[column(item)]
        if values.dtype == pl.Date:
            made.append(dates(values).alias(f"text {item}"))
        elif isinstance(values.dtype, pl.Datetime):
            made.append(moments(values).alias(f"text {item}"))
        elif values.dtype == pl.String and has_control(values):
            made.append(values.str.replace_many([_END, _NULL], [" ", " "]).alias(f"text {item}"))
    shapes = tuple((item, frame.schema[column(item)]) for item in plan.items)
    names = frozenset(series.name for series in made)
    return (frame.hstack(made) if made else frame).select(_whole(shapes, names)).to_series()


@functools.lru_cache(maxsize=1024)
def _whole(shapes: tuple[tuple[str, pl.DataType], ...], made: frozenset[str]) -> pl.Expr:
    ended: list[pl.Expr] = []
    for item, kind in shapes:
        text = pl.col(f"text {item}") if f"text {item}" in made else text_of(column(item), kind)
        ended += [text.fill_null(_NULL), pl.lit(_END)]
    deleted = pl.concat_str("_version", pl.lit(DELETED.decode()))
    there = pl.concat_str("_version", pl.lit(SET.decode()), *ended)
    return pl.when(pl.col("_op") == _DELETE).then(deleted).otherwise(there).alias("value")


def contributions_few(rows: Sequence[FewRow], plan: ResourcePlan) -> list[bytes]:
    """`contributions` of a handful of rows, one by one; the resource is_plain."""
    spellers = _spellers(plan)
    assert spellers is not None
    found = []
    for row in rows:
        if row.op == _DELETE:
            found.append(row.version.encode() + DELETED)
            continue
        parts = [
            (_NULL if value is None else spell(value)) + _END
            for spell, value in zip(spellers, row.values, strict=True)
        ]
        found.append((row.version + SET.decode() + "".join(parts)).encode())
    return found


def is_plain(plan: ResourcePlan) -> bool:
    """Whether the resource's contributions can be spelled row by row."""
    return _spellers(plan) is not None


@functools.lru_cache(maxsize=1024)
def _spellers(plan: ResourcePlan) -> tuple[Spell, ...] | None:
    spellers = [
        _without_separators if kind == pa.utf8() else text_speller(kind) for kind in plan.items.values()
    ]
    known = tuple(spell for spell in spellers if spell is not None)
    return known if len(known) == len(spellers) else None


def _without_separators(text: str) -> str:
    return text.replace(_END, " ").replace(_NULL, " ")


def with_former(value: bytes, known: bytes | None, items: Iterable[str], plan: ResourcePlan) -> bytes:
    """A contribution in which these items keep the text of the one known before."""
    if known is None or known[VERSION_WIDTH : VERSION_WIDTH + 1] != SET:
        return value
    head = VERSION_WIDTH + 1
    now, former = value[head:].split(_END.encode()), known[head:].split(_END.encode())
    for at, item in enumerate(plan.items):
        if item in items:
            now[at] = former[at]
    return value[:head] + _END.encode().join(now)


def difference(former: Sequence[bytes | None], now: Sequence[bytes | None], plan: ResourcePlan) -> Totals:
    """What the totals change by when the former contributions give way to those of now."""
    head = VERSION_WIDTH + 1
    gone: list[bytes] = []
    come: list[bytes] = []
    for old, new in zip(former, now, strict=True):
        if old is not None and new is not None and old[VERSION_WIDTH:] == new[VERSION_WIDTH:]:
            continue  # as most updates: nothing that counts has changed
        if old is not None and old[VERSION_WIDTH:head] == SET:
            gone.append(old[head:])
        if new is not None and new[VERSION_WIDTH:head] == SET:
            come.append(new[head:])
    rows = weighed(gone, come)
    if not rows:
        return {}
    if len(rows) <= FEW or not all(measure.exact for measure in plan.measures):
        return count_few(rows, plan)
    return count_many(rows, plan)


def weighed(gone: Sequence[bytes], come: Sequence[bytes]) -> dict[bytes, int]:
    """Rows that count alike taken together: the items of contributions, and how often they come."""
    weights = Counter(come)
    weights.subtract(gone)
    return {row: weight for row, weight in weights.items() if weight}


def count_few(rows: Mapping[bytes, int], plan: ResourcePlan) -> Totals:
    """Row by row: what rows change, each so many times. Adds up to the same as `count_many`."""
    at = {item: number for number, item in enumerate(plan.items)}
    totals: Totals = {}
    split = [(row.decode().split(_END), weight) for row, weight in rows.items()]
    for measure in plan.measures:
        where = [(at[item], values) for item, values in measure.where]
        by = [at[item] for item in measure.by]
        sums: dict[tuple[str, ...], int] = {}
        for texts, weight in split:
            if where and any(texts[place] not in values for place, values in where):
                continue
            dimensions = [texts[place] for place in by]
            if measure.day is not None:
                dimensions.append(texts[at[measure.day]][:_DAY_LENGTH])
            value = 1 if measure.item is None else _units(texts[at[measure.item]], measure.scale)
            key = tuple(dimensions)
            sums[key] = sums.get(key, 0) + weight * value
        if kept := _not_zero(measure.name, {_field(key): value for key, value in sums.items()}):
            totals[measure.name] = kept
    return totals


def _field(dimensions: Iterable[str]) -> str:
    return orjson.dumps([None if text == _NULL else text for text in dimensions]).decode()


def _units(text: str, scale: int) -> int:
    """A number as whole units of its last decimal place; nothing and what is no number are 0."""
    if text == _NULL:
        return 0
    whole, _, places = text.partition(".")
    if len(places) == scale:
        try:
            return int(whole + places)
        except ValueError:
            pass  # a float of another form
    number = Decimal(text)
    return int(number.scaleb(scale, _EXACT).to_integral_value(ROUND_HALF_EVEN)) if number.is_finite() else 0


def _not_zero(name: str, values: Mapping[str, int]) -> dict[str, int]:
    for value in values.values():
        if abs(value) > _LARGEST:
            raise Terminal(f"{name}: a sum is too large for a total", part="indicators")
    return {field: value for field, value in values.items() if value}


def count_many(rows: Mapping[bytes, int], plan: ResourcePlan) -> Totals:
    """Column by column: what many rows change. Every measure's sums must be exact."""
    names = list(plan.items)
    texts = pl.Series("row", list(rows), dtype=pl.Binary).cast(pl.String)
    parts = texts.str.split_exact(_END, len(names)).struct.unnest()
    items = pl.DataFrame(
        [parts.to_series(at).alias(f"i{at}") for at in range(len(names))]
        + [pl.Series("weight", list(rows.values()), dtype=pl.Int64)]
    ).with_columns(
        pl.when(pl.col(f"i{at}") != _NULL).then(f"i{at}").alias(f"i{at}") for at in range(len(names))
    )
    at = {item: f"i{number}" for number, item in enumerate(names)}
    totals: Totals = {}
    for measure in plan.measures:
        if changed := _measure(items, measure, at):
            totals[measure.name] = changed
    return totals


def _measure(items: pl.DataFrame, measure: Measure, at: Mapping[str, str]) -> dict[str, int]:
    for item, values in measure.where:
        items = items.filter(pl.col(at[item]).is_in(list(values)))
    dimensions = [pl.col(at[item]).alias(f"d{number}") for number, item in enumerate(measure.by)]
    if measure.day is not None:
        # Texts of dates and timestamps are ISO and in UTC: the day is how they begin.
        dimensions.append(pl.col(at[measure.day]).str.slice(0, _DAY_LENGTH).alias("day"))
    if measure.item is None:
        value = pl.col("weight").sum()
    else:
        # Whole numbers of the smallest unit, in 128 bits: exact whatever the order.
        amount = pl.col(at[measure.item]).cast(pl.Decimal(38, measure.scale)).fill_null(0)
        value = (amount.to_physical().cast(pl.Int128) * pl.col("weight")).sum()
    grouped = (
        items.group_by(dimensions).agg(value.alias("value"))
        if dimensions
        else items.select(value.alias("value"))
    )
    changed = {orjson.dumps(key).decode(): amount for *key, amount in grouped.iter_rows()}
    return _not_zero(measure.name, changed)


def add(totals: Totals, more: Totals) -> None:
    """Add to totals in place."""
    for name, values in more.items():
        there = totals.setdefault(name, {})
        for dimensions, value in values.items():
            there[dimensions] = there.get(dimensions, 0) + value
