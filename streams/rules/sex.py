"""GB/T 2261.1 sex: 0 unknown, 1 male, 2 female, 9 not stated. Spellings are mapped by `codes`."""

from __future__ import annotations

from datarail.contract import Sex
from streams.rules.half_width import half_width, tell_changes
from streams.rules.one_of import inside, outside
from streams.rules.port import Mend, Place, Reason, Rule

_CODES = ("0", "1", "2", "9")

MEND = Mend(
    r"[^0-9]",
    half_width,
    lambda title, written, mended: (
        f"“{title}”含{tell_changes(written, mended)}，已自动改正，应为一位半角数字"
    ),
)


def build(place: Place, check: Sex) -> Rule:
    return Rule(
        "sex",
        place.name,
        outside(place.text(), _CODES),
        (
            Reason(
                check.severity,
                "conformity",
                lambda t, _: f"“{t}”应为 GB/T 2261.1 代码：0未知、1男、2女、9未说明",
            ),
        ),
        inside(place, _CODES),
    )
