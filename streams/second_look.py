"""The second look at values: blanks, mended spellings, values no fast way could read, codes.

Only kinds with doubtful values come here, and of them only the doubtful values.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from streams import coerce
from streams.plan import Codes
from streams.rules.half_width import half_width, tell_changes
from streams.values import CODED, MENDED, Values


def look_again(values: Values, what: str) -> None:
    """One doubt settled. what: blank, mend or coerce (ItemPlan.doubts)."""
    if what == "blank":
        blank = (values.value == "").fill_null(False)
        values.change(blank.arg_true().to_numpy(), values.value.set(blank, None))
    elif what == "mend":
        _mend(values)
    else:
        _coerce(values)


def map_codes(values: Values) -> None:
    """The source's spellings of codes replaced by the standard's."""
    codes = values.kind.plan.codes
    if not codes or not values.kind.plan.is_text:
        return
    text = values.value
    code = text.to_frame("text").select(codes.apply(pl.col("text"))).to_series()
    if code.null_count() > text.null_count():
        rows = (code.is_null() & text.is_not_null()).arg_true()
        plain = half_width(text.gather(rows))
        found = pl.DataFrame({"text": plain}).select(codes.apply(pl.col("text"))).to_series()
        _tell_spelling(values, codes, rows, text.gather(rows), found)
        code = code.scatter(rows, found.zip_with(found.is_not_null(), plain))
    values.change(np.empty(0, np.intp), code)


def _coerce(values: Values) -> None:
    plan, written = values.kind.plan, values.written
    if plan.codes:
        known = plan.codes.apply(pl.col("text"))
        table = pl.DataFrame({"text": half_width(written)})
        written = table.select(pl.coalesce(known, pl.col("text"))).to_series()
    suspect = values.value.is_null() & written.is_not_null()
    doubt = coerce.doubt(plan.item, pl.col("written"), pl.col("value"))
    if doubt is not None:
        doubted = pl.DataFrame({"written": written, "value": values.value}).select(doubt).to_series()
        suspect = suspect | doubted.fill_null(False)
    rows = suspect.arg_true()
    told = written.gather(rows)
    read, faults = coerce.patient(plan.item, told)
    at_fault = {
        at: (fault, text) for at, fault, text in zip(rows, faults, told, strict=True) if fault is not None
    }
    lost = np.zeros(len(written), dtype=bool)
    for at, piece, row in values.located(np.array(list(at_fault), np.intp)):
        lost[at] = True
        fault, text = at_fault[at]
        piece.tell(row, "type", fault.severity, text, f"“{piece.title}”{fault.says}", MENDED)
    if lost.any():
        values.lost = lost
    values.change(rows.to_numpy(), values.value.scatter(rows, read))


def _mend(values: Values) -> None:
    assert values.kind.plan.mend is not None
    check, mend = values.kind.plan.mend
    watched = values.written if mend.flags_padding else values.value
    rows = watched.str.contains(mend.suspicious).fill_null(False).arg_true()
    before = watched.gather(rows)
    after = mend.mend(before)
    after = after.set(after == "", None)
    mended = {
        at: (told, now)
        for at, told, now in zip(rows, before, after, strict=True)
        if told != now and now is not None
    }
    for at, piece, row in values.located(np.array(list(mended), np.intp)):
        told, now = mended[at]
        piece.tell(row, check, "soft", told, mend.tell(piece.title, told, now), MENDED)
    values.change(rows.to_numpy(), values.value.scatter(rows, after))


def _tell_spelling(values: Values, codes: Codes, rows: pl.Series, text: pl.Series, found: pl.Series) -> None:
    told = dict(zip(rows, zip(text, found, strict=True), strict=True))
    for at, piece, row in values.located(rows.to_numpy()):
        spelling, code = told[at]
        if code is not None:
            message = f"“{piece.title}”含{tell_changes(spelling, code)}，已自动改正"
        elif not codes.told_elsewhere:
            shown = "、".join(list(codes.mapping)[:8])
            message = f"“{piece.title}”的写法不在代码对照表中，应为{shown}之一，或请补充对照表"
        else:
            continue
        piece.tell(row, "codes", "soft", spelling, message, CODED)
