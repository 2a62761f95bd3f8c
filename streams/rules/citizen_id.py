"""GB 11643 citizen id: 17 digits and a check character.

Weights 7 9 10 5 8 4 2 1 6 3 7 9 10 5 8 4 2; the sum mod 11 indexes 10X98765432. Digits 7–14 are
the birth date, the 17th is odd for men. 15-digit numbers are of before 1999: no century, no check.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from operator import mul

import numpy as np
import numpy.typing as npt
import polars as pl

from datarail.contract import CitizenId, Severity
from streams.rules.characters import WIDTH, matrix
from streams.rules.division import PROVINCES
from streams.rules.half_width import half_width, tell_changes
from streams.rules.port import TODAY, Mend, Place, Plain, Reason, Rule

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECK_CHARACTERS = "10X98765432"
OLDEST = 120

LENGTH, CHARACTERS, BIRTH, FUTURE, CHECK, DIVISION, AGE, SEX, BIRTH_ITEM = (1 << i for i in range(9))
HARD = LENGTH | CHARACTERS | BIRTH | FUTURE | CHECK

_WEIGHTS = np.array(WEIGHTS, dtype=np.int16)
_X = ord("X") - 48
_CHECK = np.frombuffer(CHECK_CHARACTERS.encode(), dtype=np.uint8).astype(np.int16) - 48
_DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] + [0] * 87, dtype=np.int16)
_KNOWN_PROVINCE = np.zeros(100, dtype=bool)
_KNOWN_PROVINCE[[int(code) for code in PROVINCES]] = True


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What is wrong with each id, as bits, and what the right ones say of themselves.

    rows: the rows whose id is right in form, check digit and date (None: all rows); man and born
    (days since 1970) are theirs.
    """

    reasons: npt.NDArray[np.uint16]
    rows: npt.NDArray[np.intp] | None
    man: npt.NDArray[np.bool_]
    born: npt.NDArray[np.int32]


def judge(ids: pl.Series, today: date) -> Verdicts:
    """Judge ids; null is right. Of the hard reasons only the first is told: length, characters,
    birth, check."""
    rows, characters, others = matrix(ids)
    found, man, born = _judge_shaped(characters, today)
    if rows is None:
        right = np.flatnonzero(found & HARD == 0) if (found & HARD).any() else None
        return Verdicts(
            found, right, man if right is None else man[right], born if right is None else born[right]
        )
    reasons = np.zeros(len(ids), dtype=np.uint16)
    for row in others.tolist():
        reasons[row] = CHARACTERS if len(ids[row]) == WIDTH else LENGTH
    reasons[rows] = found
    right = found & HARD == 0
    return Verdicts(reasons, rows[right], man[right], born[right])


def _judge_shaped(
    characters: npt.NDArray[np.uint8], today: date
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_], npt.NDArray[np.int32]]:
    # Digit by digit: contiguous rows of one digit each are what NumPy is fastest at.
    digits = np.ascontiguousarray(characters.T).astype(np.int16) - 48
    last = digits[17]
    lawful = ((digits[:17] >= 0) & (digits[:17] <= 9)).all(axis=0)
    lawful &= ((last >= 0) & (last <= 9)) | (last == _X)
    if not lawful.all():
        digits[:17, ~lawful] = 0

    year = digits[6] * 1000 + digits[7] * 100 + digits[8] * 10 + digits[9]
    month = digits[10] * 10 + digits[11]
    day = digits[12] * 10 + digits[13]
    real = (year > 0) & (day > 0) & (day <= _DAYS[month])
    real &= (month != 2) | (day < 29) | ((year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0)))
    written = year.astype(np.int32) * 10000 + month * 100 + day
    now = today.year * 10000 + today.month * 100 + today.day

    total = _WEIGHTS @ digits[:17]
    reasons = (_CHECK[total % 11] != last).astype(np.uint16) * CHECK
    known = _KNOWN_PROVINCE[digits[0] * 10 + digits[1]]
    young = (written <= now) & (now - written < (OLDEST + 1) * 10000)
    if not (lawful.all() and real.all() and known.all() and young.all()):
        reasons[written > now] = FUTURE
        reasons[~real] = BIRTH
        reasons[~lawful] = CHARACTERS
        reasons[(characters > 127).any(axis=1)] = LENGTH  # of fewer characters than bytes
        right = reasons == 0
        reasons[right & ~known] |= DIVISION
        reasons[right & (now - written >= (OLDEST + 1) * 10000)] |= AGE
    return reasons, digits[16] % 2 == 1, _days(year.astype(np.int32), month, day)


def _days(
    year: npt.NDArray[np.int32], month: npt.NDArray[np.int16], day: npt.NDArray[np.int16]
) -> npt.NDArray[np.int32]:
    # Days since 1970-01-01 of a Gregorian date, counting years from March.
    year = year - (month <= 2)
    day_of_year = (153 * ((month + 9) % 12).astype(np.int32) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + day_of_year - 719468


def check_character(body: str) -> str:
    """The 18th character that belongs to 17 digits."""
    total = sum(weight * int(digit) for weight, digit in zip(WEIGHTS, body, strict=True))
    return CHECK_CHARACTERS[total % 11]


def lengthen(old: str) -> str:
    """A 15-digit id as 18 characters. Order codes 996–999 were kept for people born before 1900."""
    century = "18" if old[12:] in ("996", "997", "998", "999") else "19"
    body = old[:6] + century + old[6:]
    return body + check_character(body)


def _mend(ids: pl.Series) -> pl.Series:
    mended = half_width(ids).str.to_uppercase()
    # Rare enough to be told apart one by one: only numbers of before 1999.
    old = mended.str.contains(r"^[0-9]{15}$").fill_null(False)
    if not old.any():
        return mended
    return mended.scatter(old.arg_true(), [lengthen(value) for value in mended.filter(old)])


def _tell_mended(title: str, written: str, mended: str) -> str:
    if len(written.strip()) == 15 and len(mended) == 18:
        return f"“{title}”为15位旧号码，已按 GB 11643 转换为18位，请核对并在源系统改为18位"
    return f"“{title}”含{tell_changes(written, mended)}，已自动改正，请在源系统按18位半角大写填写"


MEND = Mend(r"^.{15}$|[^0-9X]", _mend, _tell_mended, flags_padding=True)


def build(place: Place, check: CitizenId) -> Rule:
    """GB 11643 with, where the contract names them, the sex and birth items beside it."""
    inputs = [place.text(), pl.col(TODAY).first()]
    if check.sex:
        inputs += [(place.text(check.sex) == code).fill_null(False) for code in ("1", "2")]
    if check.birth:
        inputs.append(_as_date(place, check.birth).cast(pl.Int32))

    def wrong(columns: Sequence[pl.Series]) -> pl.Series:
        verdicts = judge(columns[0], columns[1][0])
        rows = slice(None) if verdicts.rows is None else verdicts.rows
        reasons = verdicts.reasons
        if check.sex:
            male, female = (column.to_numpy()[rows] for column in columns[2:4])
            reasons[rows] |= np.where(verdicts.man, female, male) * np.uint16(SEX)
        if check.birth:
            # A missing birth date (NaN, when the column has nulls) disagrees with nothing.
            told = columns[-1].to_numpy()[rows]
            reasons[rows] |= ((told != verdicts.born) & (told == told)) * np.uint16(BIRTH_ITEM)
        return pl.Series(reasons)

    return Rule(
        "citizen_id",
        place.name,
        pl.map_batches(inputs, wrong, return_dtype=pl.UInt16),
        _reasons(place, check, check.severity),
        _right(place, check),
    )


def _right(place: Place, check: CitizenId) -> Callable[[Plain], bool] | None:
    name, sex, birth = place.name, check.sex, check.birth
    told_sex = place.told(sex) if sex else None
    if place.kind() != "string" or (sex and told_sex is None):
        return None
    is_day = birth is not None and place.kind(birth) == "date"

    def right(row: Plain) -> bool:
        value = row[name]
        if value is None:
            return True
        if not is_right(value, row[TODAY]):
            return False
        if told_sex is not None and told_sex(row) == ("2" if value[16] in "13579" else "1"):
            return False
        if birth is None or row[birth] is None:
            return True
        return is_day and row[birth].replace("-", "") == value[6:14]

    return right


def is_right(value: str, today: str) -> bool:
    """Whether nothing is wrong with one id by itself. today: ISO."""
    if len(value) != WIDTH or not value.isascii() or not value[:17].isdigit() or value[:2] not in PROVINCES:
        return False
    try:
        born = date(int(value[6:10]), int(value[10:12]), int(value[12:14])).isoformat()
    except ValueError:
        return False
    if born > today or int(today[:4]) - int(born[:4]) > OLDEST:
        return False
    return CHECK_CHARACTERS[sum(map(mul, WEIGHTS, map(int, value[:17]))) % 11] == value[17]


def _as_date(place: Place, item: str) -> pl.Expr:
    match place.kind(item):
        case "date":
            return place.typed(item)
        case "timestamp":
            return (place.typed(item) + pl.duration(hours=8)).dt.date()
        case _:
            return place.text(item).str.replace_all(r"[-/.年月日]", "").str.to_date("%Y%m%d", strict=False)


def _reasons(place: Place, check: CitizenId, severity: Severity) -> tuple[Reason, ...]:
    sex = place.title(check.sex) if check.sex else ""
    birth = place.title(check.birth) if check.birth else ""
    return (
        Reason(severity, "conformity", lambda t, v: f"“{t}”应为18位，现为{len(v)}位"),
        Reason(severity, "conformity", lambda t, _: f"“{t}”前17位应为数字，末位应为数字或大写X"),
        Reason(severity, "accuracy", lambda t, v: f"“{t}”第7至14位应为出生日期（年月日），{_impossible(v)}"),
        Reason(severity, "accuracy", lambda t, _: f"“{t}”中的出生日期晚于今天，应为已经出生的日期"),
        Reason(
            severity,
            "accuracy",
            lambda t, v: f"“{t}”校验码不符，按前17位计算末位应为{check_character(v[:17])}，请核对各位数字",
        ),
        Reason(
            "soft", "referential", lambda t, _: f"“{t}”前两位不是已知的省级行政区划代码，应符合 GB/T 2260"
        ),
        Reason("soft", "accuracy", lambda t, _: f"“{t}”对应的年龄超过{OLDEST}岁，请核对出生日期或人员状态"),
        Reason(
            "soft",
            "consistency",
            lambda t, _: f"“{t}”第17位（奇数为男、偶数为女）与“{sex}”不一致，两者应当相符",
        ),
        Reason("soft", "consistency", lambda t, _: f"“{t}”中的出生日期与“{birth}”不一致，两者应当相符"),
    )


def _impossible(value: str) -> str:
    year, month, day = int(value[6:10]), int(value[10:12]), int(value[12:14])
    if year < 1:
        return "年份不能为0000"
    if not 1 <= month <= 12:
        return f"月份应为01至12，现为{month:02d}"
    return f"{month}月的日应为01至{calendar.monthrange(year, month)[1]:02d}，现为{day:02d}"
