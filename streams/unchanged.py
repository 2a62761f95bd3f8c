"""The _unchanged bitmaps of a car: items the source did not send because they did not change."""

from __future__ import annotations

import pyarrow as pa

from datarail.columns import WRITTEN


def unchanged_items(car: pa.RecordBatch) -> list[tuple[str, ...]] | None:
    """By row the names of the items left out; None when no row leaves any out."""
    bitmaps = car.column("_unchanged")
    if bitmaps.null_count == car.num_rows:
        return None
    items = [name[len(WRITTEN) :] for name in car.schema.names if name.startswith(WRITTEN)]
    # The same few sets of columns are left out again and again.
    known: dict[bytes | None, tuple[str, ...]] = {None: ()}
    rows = []
    for bitmap in bitmaps.to_pylist():
        if bitmap not in known:
            known[bitmap] = tuple(
                item for i, item in enumerate(items) if i // 8 < len(bitmap) and bitmap[i // 8] >> i % 8 & 1
            )
        rows.append(known[bitmap])
    return rows if any(rows) else None
