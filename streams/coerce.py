"""Text as written → typed values: a fast expression for the good case, and for the values it
cannot read a patient second look at those alone.

Times with an offset keep their meaning; times without one are China's (+08:00). Both become
UTC. A day taken from a time is the day in China.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import NamedTuple

import polars as pl

from datarail.contract import Item, Severity
from datarail.types import FIRST_YEAR, LAST_YEAR
from streams.rules.half_width import half_width

_ZONED = ("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z")
_LOCAL = (
    *("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y/%m/%d %H:%M:%S%.f", "%Y%m%d%H%M%S"),
    *("%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M", "%Y%m%d %H:%M:%S", "%Y.%m.%d %H:%M:%S"),
    *("%Y年%m月%d日 %H:%M:%S", "%Y年%m月%d日%H:%M:%S", "%Y年%m月%d日%H时%M分%S秒", "%Y年%m月%d日%H时%M分"),
)
_FIRST_DAY, _END_DAY = pl.lit(date(FIRST_YEAR, 1, 1)), pl.lit(date(LAST_YEAR + 1, 1, 1))
_FIRST_MOMENT, _END_MOMENT = (
    pl.lit(pl.Series([datetime(year, 1, 1, tzinfo=UTC)], dtype=pl.Datetime("us", "UTC")))
    for year in (FIRST_YEAR, LAST_YEAR + 1)
)
_DAYS = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%Y年%m月%d日", "%Y.%m.%d")
_TRUE = ["t", "true", "1", "y", "yes", "on", "是", "真", "有", "对"]
_FALSE = ["f", "false", "0", "n", "no", "off", "否", "假", "无", "错", "没有"]
_ENDLESS = re.compile(r"^[+-]?(infinity|inf|nan)$", re.IGNORECASE)
_ZERO_DAY = re.compile(r"^0000[-/.]?00[-/.]?00([ T].*)?$")
_THOUSANDS = r"^([+-]?[0-9]{1,3}(?:,[0-9]{3})+)(\.[0-9]+)?$"


class Fault(NamedTuple):
    """Why a value has no cleaned one (`lost`), or another than was written. `says` follows the title."""

    severity: Severity
    says: str
    lost: bool = True


def fast(item: Item, written: pl.Expr) -> pl.Expr:
    """The cleaned value in the spelling databases use; null where that spelling is not met."""
    match item.type:
        case "integer":
            return written.cast(pl.Int64, strict=False)
        case "decimal":
            return written.cast(pl.Decimal(item.precision, item.scale), strict=False)
        case "float":
            return written.cast(pl.Float64, strict=False)
        case "boolean":
            return pl.when(written == "t").then(True).when(written == "f").then(False)
        case "date":
            return written.str.to_date(_DAYS[0], strict=False)
        case "timestamp":
            return _zoned(written, _ZONED[0])
        case _:
            raise ValueError(f"{item.type} is text: nothing to coerce")


def doubt(item: Item, written: pl.Expr, value: pl.Expr) -> pl.Expr | None:
    """True where a value that was read must still be looked at; None where nothing can be amiss."""
    match item.type:
        case "date":
            return (value < _FIRST_DAY) | (value >= _END_DAY)
        case "timestamp":
            return (value < _FIRST_MOMENT) | (value >= _END_MOMENT)
        case "float":
            return ~value.is_finite()
        case "decimal":
            return written.str.contains(rf"\.[0-9]{{{item.scale}}}[0-9]*[1-9]|[eE]")
        case _:
            return None


def patient(item: Item, written: pl.Series) -> tuple[pl.Series, list[Fault | None]]:
    """Values the fast way could not read: cleaned values, and for each null left its fault.

    Blank text is null without a fault.
    """
    text = _trimmed(item, written)
    match item.type:
        case "integer" | "decimal" | "float":
            values = _numbers(item, text)
        case "boolean":
            lower = text.str.to_lowercase()
            told = pl.when(lower.is_in(_TRUE)).then(True).when(lower.is_in(_FALSE)).then(False)
            values = pl.select(told).to_series()
        case "date":
            values = _dates(text)
        case _:
            values = _timestamps(text)
    faults = [_fault(item, told, value) for told, value in zip(text, values, strict=True)]
    lost = pl.Series([fault is not None and fault.lost for fault in faults], dtype=pl.Boolean)
    return values.set(lost, None), faults


def _trimmed(item: Item, written: pl.Series) -> pl.Series:
    if item.type in ("date", "timestamp"):
        # Blanks inside part day and time; only their kind is mended.
        text = written.str.normalize("NFKC").str.strip_chars().str.replace_all(r"\s+", " ")
    else:
        text = half_width(written)
    return text.set(text == "", None)


def _numbers(item: Item, text: pl.Series) -> pl.Series:
    grouped = text.str.contains(_THOUSANDS)
    plain = text.zip_with(~grouped.fill_null(False), text.str.replace_all(",", ""))
    match item.type:
        case "integer":
            whole = plain.str.replace(r"\.0*$", "")
            return whole.cast(pl.Int64, strict=False)
        case "decimal":
            return plain.cast(pl.Decimal(item.precision, item.scale), strict=False)
        case _:
            return plain.cast(pl.Float64, strict=False)


def _zoned(text: pl.Expr, form: str) -> pl.Expr:
    return text.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")


def _local(text: pl.Expr, form: str) -> pl.Expr:
    wall = text.str.to_datetime(form, strict=False, time_unit="us")
    return (wall - pl.duration(hours=8)).dt.replace_time_zone("UTC")


def _first_that_reads(text: pl.Series, ways: list[pl.Expr]) -> pl.Series:
    # Each way is tried only on what those before it could not read.
    frame = pl.DataFrame({"text": text})
    values = frame.select(value=ways[0]).to_series()
    for way in ways[1:]:
        left = (values.is_null() & text.is_not_null()).arg_true()
        if not len(left):
            break
        values = values.scatter(left, frame[left].select(value=way).to_series())
    return values


def _timestamps(text: pl.Series) -> pl.Series:
    told = pl.col("text")
    zoned = [_zoned(told, form) for form in _ZONED]
    local = [_local(told, form) for form in (*_LOCAL,)]
    days = [
        (
            told.str.to_date(form, strict=False).cast(pl.Datetime("us")) - pl.duration(hours=8)
        ).dt.replace_time_zone("UTC")
        for form in _DAYS
    ]
    return _first_that_reads(text, [local[0], *zoned, *local[1:], *days])


def _dates(text: pl.Series) -> pl.Series:
    told = pl.col("text")
    days = _first_that_reads(text, [told.str.to_date(form, strict=False) for form in _DAYS])
    left = (days.is_null() & text.is_not_null()).arg_true()
    if not len(left):
        return days
    moments = _timestamps(text.gather(left)).to_frame("at")
    return days.scatter(left, moments.select((pl.col("at") + pl.duration(hours=8)).dt.date()).to_series())


_WANTED = {
    "integer": "整数，如 120",
    "decimal": "数字，如 1234.50",
    "float": "数字，如 0.75",
    "boolean": "是或否",
    "date": "日期，如 2020-01-31",
    "timestamp": "日期时间，如 2020-01-31 08:30:00",
}


def _fault(item: Item, text: str | None, value: object) -> Fault | None:
    if text is None:
        return None
    if _ENDLESS.match(text) or _ZERO_DAY.match(text):
        return Fault("soft", f"没有实际取值（{text[:10]}），已作空值处理，应为{_WANTED[item.type]}")
    if value is None:
        return Fault("hard", f"无法识别，应为{_WANTED[item.type]}")
    if item.type == "float" and value in (float("inf"), float("-inf")):
        return Fault("hard", f"超出数字范围，应为{_WANTED[item.type]}")
    year = getattr(value, "year", FIRST_YEAR)
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return Fault("soft", f"年份超出{FIRST_YEAR}至{LAST_YEAR}，已作空值处理，请核对")
    if item.type == "decimal" and re.search(rf"\.[0-9]{{{item.scale}}}[0-9]*[1-9]", text):
        return Fault("soft", f"小数超过{item.scale}位，已按 GB/T 8170 修约，请核对", lost=False)
    return None
