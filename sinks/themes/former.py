"""What a change left out because it had not changed (TOAST), from the contributions made before it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import polars as pl

from datarail.columns import column
from sinks.held import is_there
from sinks.themes.build import homeless_texts, theme_keys_of
from sinks.themes.landing import in_redis
from sinks.themes.plan import ResourcePlan
from sinks.unchanged import placed


class Lack(NamedTuple):
    """A row that left out these items; known: the local contribution of its source key."""

    row: int
    items: list[str]
    known: bytes


def lacks(keys: pl.Series, unchanged: Mapping[str, list[str]], known: Sequence[bytes | None]) -> list[Lack]:
    """The rows of these source keys that left something out and have a former value. unchanged: items by
    source key, of other rows too. known: by row."""
    found = []
    for row, key in enumerate(keys if unchanged else ()):
        items, old = unchanged.get(key), known[row]
        if items and old is not None and is_there(old):
            found.append(Lack(row, items, old))
    return found


def asked_of_redis(lacking: Iterable[Lack], keys: pl.Series, plan: ResourcePlan) -> list[tuple[bytes, bytes]]:
    """Key and field of the contributions that the local ones do not have: one a feed, in order."""
    return [
        in_redis(feed, theme_key or "", keys[lack.row])
        for lack in lacking
        if not homeless_texts(lack.known)
        for feed, theme_key in zip(plan.feeds, theme_keys_of(lack.known), strict=True)
    ]


def with_former(
    frame: pl.DataFrame,
    lacking: Sequence[Lack],
    answers: Sequence[Mapping[str, Any] | None],
    plan: ResourcePlan,
) -> pl.DataFrame:
    """The frame with the former values in place. answers: to what was asked of Redis, the fields."""
    told = iter(answers)
    rows: dict[str, list[int]] = {}
    values: dict[str, list[str | None]] = {}
    for lack in lacking:
        texts = homeless_texts(lack.known)
        fields = [orjson.loads(text)["f"] for text in texts] or [next(told) for _ in plan.feeds]
        former = _values(plan, lack.known, fields)
        for item in lack.items:
            rows.setdefault(item, []).append(lack.row)
            values.setdefault(item, []).append(former.get(item))
    return frame.with_columns(
        placed(frame[column(item)], rows[item], parsed(texts, frame.schema[column(item)]))
        for item, texts in values.items()
    )


def _values(
    plan: ResourcePlan, known: bytes, contributions: Sequence[Mapping[str, Any] | None]
) -> dict[str, str | None]:
    """item → the text of its former value, from a contribution's fields as each feed has them now."""
    values: dict[str, str | None] = {}
    for feed, theme_key, fields in zip(plan.feeds, theme_keys_of(known), contributions, strict=False):
        if theme_key is not None:
            parts = [theme_key] if len(feed.key) == 1 else orjson.loads(theme_key)
            values |= dict(zip(feed.key, parts, strict=True))
        if fields is not None:
            values |= {item: _plain(fields.get(name)) for name, item, _ in feed.fields}
    return values


def _plain(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def parsed(values: Sequence[str | None], kind: pl.DataType) -> pl.Series:
    """Values from their texts (the inverse of sinks.texts.text_of)."""
    texts = pl.Series(values, dtype=pl.String)
    if kind == pl.Boolean:
        return texts == "true"
    if kind == pl.Date:
        return texts.str.to_date("%Y-%m-%d")
    if isinstance(kind, pl.Datetime):
        return texts.str.to_datetime("%Y-%m-%dT%H:%M:%S%.6fZ", time_unit="us", time_zone="UTC")
    return texts.cast(kind)
