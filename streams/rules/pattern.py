"""A regular expression that the whole value matches (Rust's syntax: linear in time, no look-around)."""

from __future__ import annotations

import polars as pl

from datarail.contract import Pattern
from datarail.errors import ContractError
from streams.rules.port import Place, Reason, Rule


def build(place: Place, check: Pattern) -> Rule:
    whole = f"^(?:{check.regex})$"
    try:
        pl.Series([""]).str.contains(whole)
    except pl.exceptions.PolarsError as error:
        raise ContractError(
            f"{place.name}: pattern: {check.regex!r} cannot be used: {error}",
            remedy="write it in the syntax of Rust's regex: no look-around, no back references",
        ) from None
    return Rule(
        "pattern",
        place.name,
        ~place.text().str.contains(whole),
        (Reason(check.severity, "conformity", lambda t, _: f"“{t}”的格式不符，应符合 {check.regex}"),),
    )
