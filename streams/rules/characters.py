"""Texts of one fixed length as a matrix of characters, so that check sums need no loop over rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

WIDTH = 18


def matrix(
    values: pl.Series,
) -> tuple[npt.NDArray[np.intp] | None, npt.NDArray[np.uint8], npt.NDArray[np.intp]]:
    """(rows, characters, others): the values of WIDTH bytes as a len(rows) × WIDTH matrix, and the
    rows of those that are longer or shorter. rows is None where all are of that length; nulls are
    in neither."""
    data = values.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets_buffer, text_buffer = data.buffers()
    if not len(data) or text_buffer is None:
        none = np.empty(0, dtype=np.intp)
        return none, np.empty((0, WIDTH), dtype=np.uint8), (np.flatnonzero(data.is_valid().to_numpy(False)))
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[data.offset : data.offset + len(data) + 1]
    text = np.frombuffer(text_buffer, dtype=np.uint8)
    fits = np.diff(offsets) == WIDTH
    if not data.null_count and fits.all():
        return None, text[offsets[0] : offsets[-1]].reshape(-1, WIDTH), np.empty(0, dtype=np.intp)
    if data.null_count:
        valid = data.is_valid().to_numpy(zero_copy_only=False)
        fits &= valid
        others = np.flatnonzero(valid & ~fits)
    else:
        others = np.flatnonzero(~fits)
    rows = np.flatnonzero(fits)
    return rows, text[offsets[rows][:, None] + np.arange(WIDTH)], others
