"""The tuples of many messages at once: a walk over the columns, all rows in step. Pure.

What `decode.append_tuple` does value by value, in a dozen NumPy calls a column.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.many_rows import I64, Mask
from connectors.postgres.decode import Malformed

#: Bytes that must follow the last message, so that looking a little too far is looking at nothing.
PADDING = 8
#: Values of a row are so many places apart in the array `values` makes.
STEP = 2
_TEXT, _NULL, _UNCHANGED = 116, 110, 117


def octets(data: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def u32(data: bytes) -> npt.NDArray[np.uint32]:
    """The big-endian number at every byte of data but the last three."""
    return np.ndarray((len(data) - 3,), ">u4", data, strides=(1,))


def u64(data: bytes) -> npt.NDArray[np.uint64]:
    """The big-endian number at every byte of data but the last seven."""
    return np.ndarray((len(data) - 7,), ">u8", data, strides=(1,))


def values(data: bytes, at: I64, ends: I64, width: int) -> tuple[pa.Array, Mask | None]:
    """The values of tuples of `width` columns, one a row.

    data: messages and PADDING; at: where each tuple begins (its number of columns), ascending; ends:
    where each message does. Returns the values, binary, that of row r, column i at
    (r * width + i) * STEP, pointing into data; and which were not sent (rows × width), None if all
    were. Raises Malformed.
    """
    byte, number = octets(data), u32(data)
    found = (byte[at].astype(np.int64) << 8) | byte[at + 1]
    if (found != width).any():
        raise Malformed(f"a tuple of {int(found[found != width][0])} columns for a table of {width}")
    rows = len(at)
    # Every second value is what lies between two: so the places are an Arrow array's offsets.
    places = np.empty(rows * width * STEP + 1, np.int32)
    spans = places[:-1].reshape(rows, width, 2)
    sent = np.empty((rows, width), bool)
    unchanged: Mask | None = None
    at = at + 2
    for column in range(width):
        kind = byte[at]
        text = kind == _TEXT
        begin = at + 1
        if text.all():
            begin += 4
            at = begin + number[at + 1]
        else:
            missing = kind == _UNCHANGED
            if missing.any():
                if unchanged is None:
                    unchanged = np.zeros((rows, width), bool)
                unchanged[:, column] = missing
            if not (text | missing | (kind == _NULL)).all():
                odd = kind[~(text | missing | (kind == _NULL))]
                raise Malformed(f"column {column} is sent as {chr(odd[0])!r}, not as text")
            length = number[at + 1] * text
            begin += 4 * text
            at = begin + length
        if (at > ends).any():
            raise Malformed("a tuple ends after its message")
        spans[:, column, 0] = begin
        spans[:, column, 1] = at
        sent[:, column] = text
    places[-1] = places[-2] if len(places) > 1 else 0
    valid = np.zeros(rows * width * STEP, bool)
    valid[::STEP] = sent.reshape(-1)
    buffers = [
        pa.py_buffer(np.packbits(valid, bitorder="little")),
        pa.py_buffer(places),
        pa.py_buffer(data),
    ]
    return pa.Array.from_buffers(pa.binary(), rows * width * STEP, buffers), unchanged
