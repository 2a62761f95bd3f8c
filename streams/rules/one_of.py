"""One of the values a contract lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from datarail.contract import OneOf
from streams.rules.port import Place, Plain, Reason, Rule

_SHOWN = 8


def outside(text: pl.Expr, values: Sequence[str]) -> pl.Expr:
    """True where a value is none of these."""
    return text.is_not_null() & text.cast(pl.Enum(list(dict.fromkeys(values))), strict=False).is_null()


def inside(place: Place, values: Sequence[str]) -> Callable[[Plain], bool] | None:
    """`outside` of a plain row, the other way round."""
    told, known = place.told(), frozenset((*values, None))
    return None if told is None else lambda row: told(row) in known


def build(place: Place, check: OneOf) -> Rule:
    shown = "、".join(check.values[:_SHOWN]) + ("等" if len(check.values) > _SHOWN else "")
    return Rule(
        "one_of",
        place.name,
        outside(place.text(), check.values),
        (Reason(check.severity, "conformity", lambda t, _: f"“{t}”不在允许的取值之内，应为{shown}之一"),),
        inside(place, check.values),
    )
