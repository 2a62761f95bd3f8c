"""GB/T 2260 divisions: six digits, the first two a province's.

Divisions are dated (330621 became 330603 in 2013), and a code of its day was right on that day:
so a code is judged by shape and province alone, and softly.
"""

from __future__ import annotations

from datarail.contract import Division
from streams.rules.half_width import half_width, tell_changes
from streams.rules.pattern import matches
from streams.rules.port import Mend, Place, Reason, Rule

#: Province-level codes; 83 is given to residents of Taiwan in citizen ids since 2018.
PROVINCES = (
    *("11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37"),
    *("41", "42", "43", "44", "45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65"),
    *("71", "81", "82", "83"),
)

MEND = Mend(
    r"[^0-9]",
    half_width,
    lambda title, written, mended: f"“{title}”含{tell_changes(written, mended)}，已自动改正，应为6位半角数字",
)


_KNOWN = rf"^(?:{'|'.join(PROVINCES)})[0-9]{{4}}$"


def build(place: Place, check: Division) -> Rule:
    return Rule(
        "division",
        place.name,
        ~place.text().str.contains(_KNOWN),
        (Reason(check.severity, "referential", _tell),),
        matches(place, _KNOWN),
    )


def _tell(title: str, value: str) -> str:
    if len(value) != 6 or not value.isdecimal():
        return f"“{title}”应为6位数字的行政区划代码（GB/T 2260）"
    return f"“{title}”前两位{value[:2]}不是已知的省级代码，应符合 GB/T 2260，如浙江为33"
