"""What rows counted before and what they count now → what changes in the totals. Pure.

A local contribution is `<version><state><items>`: state S (counts) or D (deleted: counts nothing);
items are the texts of the items that indicators of the resource look at, in the order of their
names, each ended by \\x1f; a null is \\x1e. So any indicator can be counted from contributions
alone, and an item that a change left out (TOAST) keeps the text it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import orjson
import polars as pl

from datarail.errors import Terminal
from datarail.train import column
from sinks.indicators.plan import Measure, ResourcePlan
from sinks.latest import VERSION_WIDTH
from sinks.texts import as_text

SET, DELETED = b"S", b"D"
_END, _NULL = "\x1f", "\x1e"
_DELETE = ord("d")
_DAY_LENGTH = len("2024-05-03")
_LARGEST = (1 << 63) - 1

#: indicator → dimensions (a JSON list, as the field in Redis) → what is added to its total.
Totals = dict[str, dict[str, int]]


def item_texts(frame: pl.DataFrame, plan: ResourcePlan) -> list[pl.Series]:
    """The text of each item; the two separators cannot be in it."""
    texts = []
    for item in plan.items:
        text = as_text(frame[column(item)])
        if text.dtype == pl.String and text.str.contains_any([_END, _NULL]).any():
            text = text.str.replace_many([_END, _NULL], [" ", " "])
        texts.append(text.fill_null(_NULL))
    return texts


def contributions(frame: pl.DataFrame, plan: ResourcePlan) -> pl.Series:
    """The local contribution of each reduced row."""
    texts = {str(at): text for at, text in enumerate(item_texts(frame, plan))}
    deleted = frame["_op"] == _DELETE
    table = pl.DataFrame({"v": frame["_version"], **texts})
    ended = [part for at in range(len(texts)) for part in (pl.col(str(at)), pl.lit(_END))]
    whole = pl.concat_str("v", pl.lit(SET.decode()), *ended)
    if deleted.any():
        whole = pl.when(deleted).then(pl.concat_str("v", pl.lit(DELETED.decode()))).otherwise(whole)
    return table.select(whole).to_series()


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
    state = slice(VERSION_WIDTH, head)
    gone: list[bytes] = []
    come: list[bytes] = []
    for old, new in zip(former, now, strict=True):
        before = old[head:] if old is not None and old[state] == SET else None
        after = new[head:] if new is not None and new[state] == SET else None
        if before != after:
            if before is not None:
                gone.append(before)
            if after is not None:
                come.append(after)
    if not gone and not come:
        return {}
    return _count(gone, come, plan)


def _count(gone: list[bytes], come: list[bytes], plan: ResourcePlan) -> Totals:
    rows = pl.Series("row", [*gone, *come], dtype=pl.Binary).cast(pl.String)
    weight = pl.Series("weight", [-1] * len(gone) + [1] * len(come), dtype=pl.Int64)
    names = list(plan.items)
    # Rows that count alike are taken together before they are taken apart.
    table = pl.DataFrame({"row": rows, "weight": weight}).group_by("row").agg(pl.col("weight").sum())
    parts = table["row"].str.split_exact(_END, len(names)).struct.unnest()
    items = pl.DataFrame(
        [parts.to_series(at).alias(f"i{at}") for at in range(len(names))] + [table["weight"]]
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
    changed: dict[str, int] = {}
    for *key, amount in grouped.iter_rows():
        if amount:
            if abs(amount) > _LARGEST:
                raise Terminal(f"{measure.name}: a sum is too large for a total", part="indicators")
            changed[orjson.dumps(key).decode()] = amount
    return changed


def add(totals: Totals, more: Totals) -> None:
    """Add to totals in place."""
    for name, values in more.items():
        there = totals.setdefault(name, {})
        for dimensions, value in values.items():
            there[dimensions] = there.get(dimensions, 0) + value
