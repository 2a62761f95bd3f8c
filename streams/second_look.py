"""The second look at a column: blanks, mended spellings, values no fast way could read, codes.

Only columns with doubtful values come here, and in them only the doubtful rows.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from datarail.columns import WRITTEN, column
from streams import coerce
from streams.findings import Findings, Mask
from streams.plan import ItemPlan, Plan
from streams.rules.half_width import half_width, tell_changes


def look_again(
    frame: pl.DataFrame,
    plan: ItemPlan,
    what: str,
    judged: Mask | None,
    findings: Findings,
    unread: dict[str, Mask],
) -> pl.DataFrame:
    """One doubt about one item settled: the frame with its column as it should be.

    what: blank, mend or coerce (ItemPlan.doubts). unread: by item the rows whose value was told to
    be unreadable; filled in here.
    """
    target = column(plan.name)
    values = frame[target]
    if what == "blank":
        return frame.with_columns(values.set(values == "", None))
    written = frame[WRITTEN + plan.name]
    if what == "mend":
        assert plan.mend is not None
        return frame.with_columns(_mended(plan, values, written, judged, findings))
    if plan.codes:
        known = plan.codes.apply(pl.col("text"))
        table = pl.DataFrame({"text": half_width(written)})
        written = table.select(pl.coalesce(known, pl.col("text"))).to_series()
    suspect = values.is_null() & written.is_not_null()
    doubt = coerce.doubt(plan.item, pl.col("written"), pl.col("value"))
    if doubt is not None:
        doubted = pl.DataFrame({"written": written, "value": values}).select(doubt).to_series()
        suspect = suspect | doubted.fill_null(False)
    rows = suspect.arg_true()
    read, faults = coerce.patient(plan.item, written.gather(rows))
    lost = np.zeros(len(values), dtype=bool)
    for row, fault, told in zip(rows.to_list(), faults, written.gather(rows), strict=True):
        if fault is not None and (judged is None or judged[row]):
            lost[row] = True
            title = plan.item.title or plan.name
            message = f"“{title}”{fault.says}"
            findings.add(row, "type", plan.name, plan.item, fault.severity, "conformity", told, message)
    if lost.any():
        unread[plan.name] = lost
    return frame.with_columns(values.scatter(rows, read).alias(target))


def _mended(
    plan: ItemPlan, values: pl.Series, written: pl.Series, judged: Mask | None, findings: Findings
) -> pl.Series:
    assert plan.mend is not None
    check, mend = plan.mend
    watched = written if mend.flags_padding else values
    rows = watched.str.contains(mend.suspicious).fill_null(False).arg_true()
    before = watched.gather(rows)
    after = mend.mend(before)
    after = after.set(after == "", None)
    for row, told, now in zip(rows.to_list(), before, after, strict=True):
        if told != now and now is not None and (judged is None or judged[row]):
            message = mend.tell(plan.item.title or plan.name, told, now)
            findings.add(row, check, plan.name, plan.item, "soft", "conformity", told, message)
    return values.scatter(rows, after).alias(column(plan.name))


def map_codes(frame: pl.DataFrame, plan: Plan, judged: Mask | None, findings: Findings) -> pl.DataFrame:
    """The source's spellings of codes replaced by the standard's, in a frame that is ours to change."""
    if not plan.coded:
        return frame
    coded = frame.select(expression for _, _, expression in plan.coded)
    for each, codes, _ in plan.coded:
        text, code = frame[column(each.name)], coded[column(each.name)]
        if code.null_count() > text.null_count():
            rows = (code.is_null() & text.is_not_null()).arg_true()
            plain = half_width(text.gather(rows))
            found = pl.DataFrame({"text": plain}).select(codes.apply(pl.col("text"))).to_series()
            _tell_spelling(each, codes.told_elsewhere, rows, text.gather(rows), found, judged, findings)
            code = code.scatter(rows, found.zip_with(found.is_not_null(), plain)).alias(text.name)
        frame.replace_column(frame.get_column_index(text.name), code)
    return frame


def _tell_spelling(
    plan: ItemPlan,
    told_elsewhere: bool,
    rows: pl.Series,
    text: pl.Series,
    found: pl.Series,
    judged: Mask | None,
    findings: Findings,
) -> None:
    title, shown = plan.item.title or plan.name, "、".join(list(plan.item.codes)[:8])
    for row, told, code in zip(rows.to_list(), text, found, strict=True):
        if judged is not None and not judged[row]:
            continue
        if code is not None:
            message = f"“{title}”含{tell_changes(told, code)}，已自动改正"
        elif not told_elsewhere:
            message = f"“{title}”的写法不在代码对照表中，应为{shown}之一，或请补充对照表"
        else:
            continue
        findings.add(row, "codes", plan.name, plan.item, "soft", "conformity", told, message)
