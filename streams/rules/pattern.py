"""A regular expression that the whole value matches (Rust's syntax: linear in time, no look-around)."""

from __future__ import annotations

import re
from collections.abc import Callable

import polars as pl

from datarail.contract import Pattern
from datarail.errors import ContractError
from streams.rules.port import Place, Plain, Reason, Rule

# Regular expressions that mean the same in Python: plain characters, `.`, \d, escaped punctuation
# and classes of plain characters and ranges; each of them, but no group of them, repeated.
_PLAIN = r"[^\\.\[\](){}*+?|^$&~#\s-]"
_ATOM = rf"(?:{_PLAIN}|-|\.|\\[d.()/+*?|-]|\[\^?(?:{_PLAIN}-{_PLAIN}|{_PLAIN})+\])"
_TIMES = r"(?:\{[0-9]{1,3}(?:,[0-9]{0,3})?\}|[*+?])?"
_ALIKE = re.compile(rf"(?:{_ATOM}{_TIMES}|\((?:\?:)?|\)\??|\|)*")
#: Repeats without end, and lengths of texts, that Python's engine is still quick with.
_ENDLESS = re.compile(r"[*+]|,\}")
_MOST_ENDLESS = 2
#: Longer texts are left to the engine that is linear in time.
_LONGEST = 64


def is_plain(regex: str) -> bool:
    """Whether Python reads it as Rust does (a digit it accepts is one there), and in good time."""
    return _ALIKE.fullmatch(regex) is not None and len(_ENDLESS.findall(regex)) <= _MOST_ENDLESS


def matches(place: Place, whole: str) -> Callable[[Plain], bool] | None:
    """Whether the text of a plain row matches; `whole` means the same in Python and in Rust."""
    told, match = place.told(), re.compile(whole, re.ASCII).fullmatch

    def right(row: Plain) -> bool:
        assert told is not None
        value = told(row)
        return value is None or (len(value) <= _LONGEST and match(value) is not None)

    return right if told else None


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
        matches(place, whole) if is_plain(check.regex) else None,
    )
