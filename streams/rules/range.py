"""Numbers and days between two bounds, both included."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from datarail.contract import Range
from datarail.errors import ContractError
from streams.clock import CHINA
from streams.rules.port import Place, Plain, Reason, Rule


def build(place: Place, check: Range) -> Rule:
    value = place.typed()
    bounds = [bound for bound in (check.min, check.max) if bound is not None]
    if place.kind() == "string" and all(isinstance(bound, float | int) for bound in bounds):
        value = value.cast(pl.Float64, strict=False)
    wrong = pl.lit(False)
    if check.min is not None:
        wrong |= value < pl.lit(_bound(place, check.min))
    if check.max is not None:
        wrong |= value > pl.lit(_bound(place, check.max))
    low, high = (None if bound is None else _shown(bound) for bound in (check.min, check.max))
    if low is not None and high is not None:
        wanted = f"在{low}至{high}之间"
    else:
        wanted = f"不小于{low}" if high is None else f"不大于{high}"
    return Rule(
        "range",
        place.name,
        wrong,
        (Reason(check.severity, "accuracy", lambda t, _: f"“{t}”超出允许范围，应{wanted}"),),
        _inside(place, check),
    )


def _inside(place: Place, check: Range) -> Callable[[Plain], bool] | None:
    name, kind = place.name, place.kind()
    low, high = (None if bound is None else _bound(place, bound) for bound in (check.min, check.max))
    match kind:
        case "integer" | "float":
            read: Callable[[Any], Any] = _same
        case "decimal":
            read = Decimal
        case "date":
            read = date.fromisoformat
        case "timestamp":
            read = datetime.fromisoformat
        case _:
            return None

    def right(row: Plain) -> bool:
        value = row[name]
        if value is None:
            return True
        value = read(value)
        return (low is None or low <= value) and (high is None or value <= high)

    return right


def _same(value: Any) -> Any:
    return value


def _bound(place: Place, bound: float | str) -> Any:
    kind = place.kind()
    try:
        match kind:
            case "date":
                return date.fromisoformat(str(bound))
            case "timestamp":
                moment = datetime.fromisoformat(str(bound))
                return moment if moment.tzinfo else moment.replace(tzinfo=CHINA)
            case "decimal":
                return Decimal(str(bound))
            case "integer":
                number = float(bound)
                return int(number) if number.is_integer() else number
            case "float":
                return float(bound)
            case _:
                return bound
    except ValueError as error:
        raise ContractError(
            f"{place.name}: range: {bound!r} is no {kind}: {error}",
            remedy="write bounds as numbers, or days as '2020-01-31'",
        ) from None


def _shown(bound: float | str) -> str:
    return f"{bound:g}" if isinstance(bound, float) and abs(bound) < 1e6 else str(bound).removesuffix(".0")
