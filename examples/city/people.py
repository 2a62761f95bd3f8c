"""Who lives where and is called what: shared by all departments, so that records meet."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from examples.city import words
from examples.city.draw import Draw, Index, digits, text
from examples.city.faults import where
from examples.city.numbers import CODES, DIVISIONS

#: Times that are stored at seeding lie before this; load uses the clock.
BASE = np.datetime64("2025-09-01T00:00:00", "s")
_TITLES = pl.Series(list(DIVISIONS.values()))
_ORDER = np.argsort(CODES)


def household(person: Index) -> Index:
    """Three people to a household."""
    return person // np.uint64(3)


def adult(draw: Draw, word: str, index: Index) -> Index:
    """The grown-up who stands behind row `index` of another department: number 3i or 3i + 1."""
    return index * np.uint64(3) + draw.bits(word, index) % np.uint64(2)


def names(draw: Draw, person: Index) -> pl.Series:
    """Names, 2 % with rare characters, half a percent with a middle dot."""
    surname = draw.pick("surname", person, words.SURNAMES)
    surname = where(
        draw.share("compound", person) < 0.01, draw.pick("compound name", person, words.COMPOUND), surname
    )
    second = where(
        draw.share("two characters", person) < 0.25,
        pl.Series([""]).gather(np.zeros(len(person), dtype=np.int64)),
        draw.pick("second", person, words.GIVEN),
    )
    first = draw.pick("first", person, words.GIVEN)
    first = where(draw.share("rare", person) < 0.02, draw.pick("rare character", person, words.RARE), first)
    return where(dotted(draw, person), draw.pick("dotted", person, words.DOTTED), surname + first + second)


def dotted(draw: Draw, person: Index) -> npt.NDArray[np.bool_]:
    """People with a name of several parts."""
    return draw.share("dotted name", person) < 0.005


def divisions(draw: Draw, word: str, index: Index) -> npt.NDArray[np.int64]:
    """Six digits as a number."""
    return CODES[draw.below(f"{word} division", index, len(CODES))]


def code_text(division: npt.NDArray[np.int64]) -> pl.Series:
    """A division as text."""
    return text(digits(division, 6))


def addresses(
    draw: Draw, word: str, index: Index, division: npt.NDArray[np.int64], version: int = 0
) -> pl.Series:
    """A street, an estate, building, unit and room; another version is another room."""
    title = _TITLES.gather(_ORDER[np.searchsorted(CODES, division, sorter=_ORDER)])
    street = draw.pick(f"{word} street", index, words.STREETS)
    number = pl.Series(draw.below(f"{word} number", index, 899) + 1).cast(pl.String)
    estate = draw.pick(f"{word} estate", index, words.ESTATES)
    building = pl.Series(draw.below(f"{word} building", index, 40) + 1).cast(pl.String)
    floor = draw.below(f"{word} floor {version}", index, 18) + 1
    room = pl.Series(floor * 100 + draw.below(f"{word} room {version}", index, 4) + 1).cast(pl.String)
    return title + street + number + "号" + street.str.slice(0, 2) + estate + building + "幢" + room + "室"


def times(draw: Draw, word: str, index: Index, days: int = 1000) -> npt.NDArray[np.datetime64]:
    """Moments of the `days` before BASE, to the second."""
    return BASE - draw.below(word, index, days * 86_400).astype("timedelta64[s]")


def stamps(moments: npt.NDArray[np.datetime64]) -> pl.Series:
    """Moments as PostgreSQL reads them in the session's time zone."""
    return pl.Series(moments.astype("datetime64[us]")).dt.to_string("%Y-%m-%d %H:%M:%S")


def days(moments: npt.NDArray[np.datetime64]) -> pl.Series:
    """The days of moments, ISO."""
    return pl.Series(moments.astype("datetime64[us]")).dt.to_string("%Y-%m-%d")


def coded(prefix: str, number: npt.ArrayLike, width: int = 10) -> pl.Series:
    """Keys: a prefix and a number with leading noughts."""
    return prefix + text(digits(number, width))
