"""A number of characters (not bytes: a Chinese character counts one)."""

from __future__ import annotations

import polars as pl

from datarail.contract import Length
from streams.rules.port import Place, Plain, Reason, Rule


def build(place: Place, check: Length) -> Rule:
    length = place.text().str.len_chars()
    wrong = length < check.min
    if check.max is not None:
        wrong |= length > check.max
    if check.max is None:
        wanted = f"不少于{check.min}个字"
    elif check.min == check.max:
        wanted = f"为{check.max}个字"
    else:
        wanted = f"为{check.min}至{check.max}个字" if check.min else f"不超过{check.max}个字"
    told, low, high = place.told(), check.min, check.max

    def right(row: Plain) -> bool:
        assert told is not None
        value = told(row)
        return value is None or (low <= len(value) and (high is None or len(value) <= high))

    return Rule(
        "length",
        place.name,
        wrong if isinstance(wrong, pl.Expr) else pl.lit(wrong),
        (Reason(check.severity, "conformity", lambda t, v: f"“{t}”的长度应{wanted}，现为{len(v)}个字"),),
        right if told else None,
    )
