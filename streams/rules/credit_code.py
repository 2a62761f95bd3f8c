"""GB 32100 unified social credit code: 18 of 31 characters (no I O Z S V), the last a check.

Weights are 3^i mod 31; check = (31 − sum mod 31) mod 31.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul

import numpy as np
import numpy.typing as npt
import polars as pl

from datarail.contract import CreditCode
from streams.rules.characters import WIDTH, matrix
from streams.rules.half_width import half_width, tell_changes
from streams.rules.port import Mend, Place, Reason, Rule

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
WEIGHTS = tuple(pow(3, i, 31) for i in range(17))
LENGTH, CHARACTERS, CHECK = 1, 2, 4

_NUMBER = {character: number for number, character in enumerate(ALPHABET)}
_UNLAWFUL = 99
_VALUE = np.full(256, _UNLAWFUL, dtype=np.int16)
_VALUE[np.frombuffer(ALPHABET.encode(), dtype=np.uint8)] = np.arange(31)
_WEIGHTS = np.array(WEIGHTS, dtype=np.int16)


def judge(codes: pl.Series) -> npt.NDArray[np.uint16]:
    """The reason each code is wrong for, as a bit; 0 for a right one and for null."""
    rows, characters, others = matrix(codes)
    values = _VALUE[characters]
    lawful = (values != _UNLAWFUL).all(axis=1)
    check = (31 - (values[:, :17] @ _WEIGHTS) % 31) % 31
    found = np.where(~lawful, CHARACTERS, np.where(check != values[:, 17], CHECK, 0)).astype(np.uint16)
    if not lawful.all():
        found[(characters > 127).any(axis=1)] = LENGTH  # of fewer characters than bytes
    if rows is None:
        return found
    reasons = np.zeros(len(codes), dtype=np.uint16)
    reasons[rows] = found
    for row in others.tolist():
        reasons[row] = CHARACTERS if len(codes[row]) == WIDTH else LENGTH
    return reasons


def check_character(body: str) -> str:
    """The 18th character that belongs to the first 17."""
    total = sum(weight * ALPHABET.index(character) for weight, character in zip(WEIGHTS, body, strict=True))
    return ALPHABET[(31 - total % 31) % 31]


def is_right(code: str) -> bool:
    """Whether one code is right; false for what is no text."""
    if type(code) is not str or len(code) != WIDTH:
        return False
    try:
        numbers = [_NUMBER[character] for character in code]
    except KeyError:
        return False
    return bool((sum(map(mul, numbers, WEIGHTS)) + numbers[17]) % 31 == 0)


MEND = Mend(
    r"[^0-9A-Z]",
    lambda codes: half_width(codes).str.to_uppercase(),
    lambda title, written, mended: (
        f"“{title}”含{tell_changes(written, mended)}，已自动改正，请在源系统按18位半角大写填写"
    ),
    flags_padding=True,
)


def build(place: Place, check: CreditCode) -> Rule:
    def wrong(columns: Sequence[pl.Series]) -> pl.Series:
        return pl.Series(judge(columns[0]))

    severity = check.severity
    return Rule(
        "credit_code",
        place.name,
        pl.map_batches([place.text()], wrong, return_dtype=pl.UInt16),
        (
            Reason(severity, "conformity", lambda t, v: f"“{t}”应为18位统一社会信用代码，现为{len(v)}位"),
            Reason(severity, "conformity", lambda t, _: f"“{t}”只应含数字和大写字母，且不含 I、O、Z、S、V"),
            Reason(
                severity,
                "accuracy",
                lambda t, v: (
                    f"“{t}”校验码不符，按前17位计算末位应为{check_character(v[:17])}，请核对各位字符"
                ),
            ),
        ),
        lambda row: row[place.name] is None or is_right(row[place.name]),
    )
