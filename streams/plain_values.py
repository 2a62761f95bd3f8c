"""Text as written → the value of a small car, one by one, where the spelling is the one databases use.

Anything else is a doubt: `streams.coerce` looks at it. So nothing here is told or mended.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from datarail.contract import Item
from datarail.types import FIRST_YEAR, LAST_YEAR
from streams.clock import CHINA


class Doubt(Exception):
    """A value that is not surely as it should be."""


def reader(item: Item) -> Callable[[str], Any]:
    """Reads values of an item's type as small cars spell them; what it returns raises Doubt."""
    match item.type:
        case "string":
            return _string
        case "integer":
            return _integer
        case "decimal":
            return _decimal(item.precision, item.scale)
        case "float":
            return _float
        case "boolean":
            return _boolean
        case "date":
            return _date
        case "timestamp":
            return _timestamp
        case _:
            return _same


def _same(text: str) -> str:
    return text


def _string(text: str) -> str:
    # What Python strips is all that Unicode calls white space, and a little more.
    if not text or text.strip() != text:
        raise Doubt
    return text


_whole = re.compile(r"-?[0-9]{1,18}").fullmatch
_real = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?").fullmatch


def _integer(text: str) -> int:
    if not _whole(text):
        raise Doubt
    return int(text)


def _float(text: str) -> float:
    if not _real(text):
        raise Doubt
    return float(text)


def _decimal(precision: int, scale: int) -> Callable[[str], str]:
    places = rf"(?:\.([0-9]{{1,{scale}}}))?" if scale else "()"
    match = re.compile(rf"(-?)(0|[1-9][0-9]{{0,{max(precision - scale - 1, 0)}}}){places}").fullmatch
    if precision == scale:
        match = re.compile(rf"(-?)(0){places}").fullmatch

    def read(text: str) -> str:
        found = match(text)
        if found is None:
            raise Doubt
        sign, whole, part = found.groups()
        digits = (part or "").ljust(scale, "0")
        if sign and whole == "0" and not digits.strip("0"):
            raise Doubt  # a zero below nothing
        return f"{sign}{whole}.{digits}" if scale else sign + whole

    return read


def _boolean(text: str) -> bool:
    if text == "t":
        return True
    if text == "f":
        return False
    raise Doubt


_day = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch


def _date(text: str) -> str:
    if not _day(text) or not FIRST_YEAR <= int(text[:4]) <= LAST_YEAR:
        raise Doubt
    try:
        date.fromisoformat(text)
    except ValueError:
        raise Doubt from None
    return text


_moment = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2} (?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
    r"([+-](?:0[0-9]|1[0-5])(?::[0-9]{2})?)?"
).fullmatch


def _timestamp(text: str) -> str:
    found = _moment(text)
    # A day's room at both ends, for the offsets.
    if found is None or not FIRST_YEAR < int(text[:4]) < LAST_YEAR:
        raise Doubt
    if found[1] == "+00":
        # PostgreSQL's own, as the connectors ask for it: the moment is written already.
        try:
            datetime.fromisoformat(text)
        except ValueError:
            raise Doubt from None
        return f"{text[:10]}T{text[11:-3]:0<15}Z" if "." in text else f"{text[:10]}T{text[11:-3]}.000000Z"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Doubt from None
    # Without an offset it is China's.
    moment = moment.astimezone(UTC) if found[1] else moment.replace(tzinfo=CHINA).astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:-6] + "Z"
