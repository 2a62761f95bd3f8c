"""Values of small cars as text and as JSON: what sinks.texts does for whole columns. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pyarrow as pa

#: From a value that is not null.
Spell = Callable[[Any], str]


def text_speller(kind: pa.DataType) -> Spell | None:
    """How a type's values read as text; None for floats, whose text is a matter of taste."""
    if pa.types.is_floating(kind):
        return None
    if pa.types.is_boolean(kind):
        return _truth
    # Decimals, dates and moments are texts in a small car.
    return str


def json_speller(kind: pa.DataType) -> Spell:
    """How a type's values are written in JSON."""
    if pa.types.is_boolean(kind):
        return _truth
    if pa.types.is_integer(kind):
        return str
    if pa.types.is_floating(kind):
        return _number
    return json_string


def json_string(text: str) -> str:
    """A text as a JSON string."""
    return orjson.dumps(text).decode()


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _number(value: float) -> str:
    return repr(float(value))
