"""Across items: one moment must not be later than another, or than now."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from datarail.contract import NotAfter
from datarail.errors import ContractError
from streams.rules.port import NOW, TODAY, Place, Plain, Reason, Rule

#: Departments' clocks differ a little from ours.
_SKEW = pl.duration(minutes=5)


def build(place: Place, check: NotAfter) -> Rule:
    if check.other == "now":
        if place.kind() == "timestamp":
            wrong = place.typed() > pl.col(NOW) + _SKEW
        else:
            wrong = _day(place, place.name) > pl.col(TODAY)
        other = "当前时间"
    else:
        if place.kind() == place.kind(check.other) == "timestamp":
            wrong = place.typed() > place.typed(check.other)
        else:
            wrong = _day(place, place.name) > _day(place, check.other)
        other = f"“{place.title(check.other)}”"
    return Rule(
        "not_after",
        place.name,
        wrong,
        (Reason(check.severity, "consistency", lambda t, _: f"“{t}”晚于{other}，应当不晚于它，请核对"),),
        _right(place, check),
    )


def _right(place: Place, check: NotAfter) -> Callable[[Plain], bool] | None:
    name, kind = place.name, place.kind()
    other = {"date": TODAY, "timestamp": NOW}.get(kind) if check.other == "now" else check.other
    if kind not in ("date", "timestamp") or other is None:
        return None
    if check.other != "now" and place.kind(other) != kind:
        return None
    # ISO texts of one kind sort as the moments do.
    return lambda row: row[name] is None or row[other] is None or row[name] <= row[other]


def _day(place: Place, item: str) -> pl.Expr:
    match place.kind(item):
        case "date":
            return place.typed(item)
        case "timestamp":
            return (place.typed(item) + pl.duration(hours=8)).dt.date()
        case "string":
            return place.typed(item).str.replace_all("[/.]", "-").str.to_date("%Y-%m-%d", strict=False)
        case kind:
            raise ContractError(
                f"{item}: not_after compares days and times, not {kind}",
                remedy="give the item the type date or timestamp",
            )
