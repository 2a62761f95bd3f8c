"""Mobile numbers of mainland China: 1 and ten digits."""

from __future__ import annotations

import polars as pl

from datarail.contract import Mobile
from streams.rules.half_width import half_width
from streams.rules.pattern import matches
from streams.rules.port import Mend, Place, Reason, Rule


def _mend(numbers: pl.Series) -> pl.Series:
    plain = half_width(numbers).str.replace_all("[-()]", "")
    return plain.str.replace(r"^(?:\+|00)?86(1[0-9]{10})$", "$1")


MEND = Mend(
    r"[^0-9]|^00|^86",
    _mend,
    lambda title, _written, _mended: (
        f"“{title}”含空格、连字符、全角字符或国际区号，已自动改正，应为11位半角数字"
    ),
)


_NUMBER = r"^1[0-9]{10}$"


def build(place: Place, check: Mobile) -> Rule:
    return Rule(
        "mobile",
        place.name,
        ~place.text().str.contains(_NUMBER),
        (Reason(check.severity, "conformity", lambda t, v: f"“{t}”应为1开头的11位数字，现为{len(v)}位"),),
        matches(place, _NUMBER),
    )
