"""Versions: identities as texts that sort as they do. Pure."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from datarail.errors import Terminal
from datarail.iso_texts import fixed_texts

#: An identity as 32 hex digits that sort as it does, with room for one bit:
#: epoch 16 | position 64 | index 44 | part 2 | good 1 | 0. A held change is a little older than
#: the same change mended.
VERSION_WIDTH = 32
#: What of a car a version is made from.
VERSION_COLUMNS = ["_epoch", "_pos", "_idx", "_part", "_held"]
_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), dtype="S2")


def version_texts(table: pa.Table) -> pa.Array:
    """The version of each row as text, from its identity and whether it is held."""
    epoch, position, index, part = (
        table.column(name).to_numpy().astype(np.uint64) for name in ("_epoch", "_pos", "_idx", "_part")
    )
    good = ~table.column("_held").to_numpy().astype(bool)
    if len(epoch) and (int(epoch.max()) >> 16 or int(index.max()) >> 44):
        raise Terminal("an epoch above 65535 or a row number above 2^44 does not fit in a version")
    words = np.empty((len(epoch), 2), dtype=">u8")
    words[:, 0] = (epoch << np.uint64(48)) | (position >> np.uint64(16))
    words[:, 1] = (
        ((position & np.uint64(0xFFFF)) << np.uint64(48))
        | (index << np.uint64(4))
        | (part << np.uint64(2))
        | (good.astype(np.uint64) << np.uint64(1))
    )
    digits = _HEX[words.view(np.uint8).reshape(len(epoch), 16)]
    return fixed_texts(digits.tobytes(), len(epoch), VERSION_WIDTH)
