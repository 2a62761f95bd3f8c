"""Records of one partition as finished Kafka batches, compressed with LZ4.

aiokafka appends record by record, and compresses only where cramjam is installed, whose LZ4 takes 8
times as long as the lz4 package that kafka-python reads with. So batches are written here: many records
at once from columns, a handful from bytes. Kafka protocol, record batch (magic 2) and record,
https://kafka.apache.org/documentation/#recordbatch. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import lz4.frame
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from crc32c import crc32c

#: Bytes of one batch before compression, unless a single record is larger.
BATCH = 1 << 20
#: Smaller batches are left as they are: what leaves alone should leave at once.
_COMPRESS_FROM = 4 << 10
_LZ4 = 3
#: Numbers whose varints are looked up. With them go the records of a batch at most.
_KNOWN = 1 << 13
#: What a record takes beside key and value, at most.
_FRAME = 24


class Pairs(NamedTuple):
    """Keys and values, record for record."""

    keys: list[bytes | None]
    values: list[bytes]


class Records(NamedTuple):
    """The same as columns of texts, for many."""

    keys: pl.Series
    values: pl.Series

    def only(self, passes: npt.NDArray[np.bool_]) -> Records:
        """Those of them that pass."""
        return self if passes.all() else Records(*(column.filter(pl.Series(passes)) for column in self))

    def longest(self, limit: int) -> int:
        """Bytes of the longest value, where one may be longer than the limit; else 0."""
        if self.values.estimated_size() <= limit:  # all together
            return 0
        return int(self.values.str.len_bytes().max() or 0)  # type: ignore[arg-type]

    def pairs(self) -> Pairs:
        return Pairs(*(column.cast(pl.Binary).to_list() for column in self))


class Batch:
    """A finished batch that aiokafka's producer sends as one of its own (AIOKafkaProducer.send_batch):
    what a BatchBuilder of aiokafka 0.14 does for it. records: framed; at: milliseconds since 1970."""

    def __init__(self, records: bytes | memoryview, count: int, at: int) -> None:
        packed = compressed(records)
        self._records, self._codec = (bytes(records), 0) if packed is None else (packed, _LZ4)
        self._count, self._at = count, at
        self._producer = (-1, -1, -1)

    def append(self, **_: Any) -> None:
        """Nothing more goes in: aiokafka takes a None as full."""

    def closed(self) -> bool:
        return True

    def record_count(self) -> int:
        return self._count

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytes:
        # From the attributes on it is what the checksum covers.
        rest = struct.pack(
            *(">hiqqqhii", self._codec, self._count - 1, self._at, self._at),
            *(*self._producer, self._count),
        )
        check = crc32c(self._records, crc32c(rest))
        begin = struct.pack(">qiibI", 0, len(rest) + len(self._records) + 9, -1, 2, check)
        return begin + rest + self._records


def packed(records: Records, at: int) -> Iterator[Batch]:
    """Many records, in order, as full batches. at: milliseconds since 1970."""
    keys, values = (column.cast(pl.Binary).to_arrow().cast(pa.large_binary()) for column in records)
    ends = np.cumsum(_lengths(keys) + _lengths(values) + _FRAME)
    start = 0
    while start < len(values):
        room = BATCH + (ends[start - 1] if start else 0)
        end = min(max(int(np.searchsorted(ends, room, "right")), start + 1), start + _KNOWN)
        framed = _framed(keys[start:end], values[start:end])
        yield Batch(memoryview(framed), end - start, at)
        start = end


def batches(pairs: Pairs, at: int) -> Iterator[Batch]:
    """The same of a handful."""
    framed: list[bytes] = []
    size = 0
    for key, value in zip(*pairs, strict=True):
        if framed and size + len(key or b"") + len(value) + _FRAME > BATCH:
            yield Batch(b"".join(framed), len(framed), at)
            framed, size = [], 0
        known = varint(-1) if key is None else varint(len(key)) + key
        record = b"\0\0%b%b%b%b\0" % (varint(len(framed)), known, varint(len(value)), value)
        framed.append(varint(len(record)) + record)
        size += len(framed[-1])
    if framed:
        yield Batch(b"".join(framed), len(framed), at)


def compressed(records: bytes | memoryview) -> bytes | None:
    """Records as an LZ4 frame; None where that is not worth it."""
    if len(records) < _COMPRESS_FROM:
        return None
    # Kafka's own reader refuses blocks that refer to the ones before them.
    found: bytes = lz4.frame.compress(records, block_linked=False, block_size=lz4.frame.BLOCKSIZE_MAX256KB)
    return found if len(found) < len(records) else None


def varint(number: int) -> bytes:
    """A signed number in Protocol Buffers' zigzag encoding, as Kafka's records have them."""
    if -1 <= number < _KNOWN:
        return _VARINTS[number + 1]
    return _varint(number)


def _varint(number: int) -> bytes:
    rest = number << 1 if number >= 0 else -2 * number - 1
    written = bytearray()
    while rest >= 0x80:
        written.append(rest & 0x7F | 0x80)
        rest >>= 7
    written.append(rest)
    return bytes(written)


_VARINTS = [_varint(number) for number in range(-1, _KNOWN)]
_VARINT_COLUMN = pa.array(_VARINTS, pa.large_binary())
#: The begin of the n-th record of a batch: no attributes, no difference in time, n.
_BEGIN = pa.array([b"\0\0" + written for written in _VARINTS[1:]], pa.large_binary())
_NOTHING, _NO_HEADERS = pa.scalar(b"", pa.large_binary()), pa.scalar(b"\0", pa.large_binary())


def _framed(keys: pa.LargeBinaryArray, values: pa.LargeBinaryArray) -> pa.Buffer:
    """Records one behind the other; no more than _KNOWN."""
    count = len(values)
    none = keys.is_null().to_numpy(zero_copy_only=False) if keys.null_count else None
    keys = keys if none is None else pc.fill_null(keys, b"")
    of_keys, of_values = _lengths(keys), _lengths(values)
    sizes = of_keys + of_values + _sizes(of_keys) + _sizes(of_values) + _SIZES[:count] + 3
    told = of_keys if none is None else np.where(none, -1, of_keys)
    return pc.binary_join_element_wise(
        *(_varints(sizes), _BEGIN[:count], _varints(told), keys, _varints(of_values), values),
        *(_NO_HEADERS, _NOTHING),
    ).buffers()[2]


def _lengths(texts: pa.LargeBinaryArray) -> npt.NDArray[np.int64]:
    """Bytes of each."""
    ends = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return ends[1:] - ends[:-1]


def _sizes(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bytes of their varints."""
    sizes = np.ones(len(lengths), dtype=np.int64)
    for power in (6, 13, 20, 27):
        sizes += lengths >= 1 << power
    return sizes


def _varints(numbers: npt.NDArray[np.int64]) -> pa.LargeBinaryArray:
    if numbers.max() < _KNOWN:
        return _VARINT_COLUMN.take(pa.array(numbers + 1))
    return pa.array([varint(number) for number in numbers.tolist()], pa.large_binary())


_SIZES = _sizes(np.arange(_KNOWN))
