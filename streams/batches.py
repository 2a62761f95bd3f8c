"""Records of one partition as Kafka batches, compressed with LZ4.

aiokafka compresses only where cramjam is installed, whose LZ4 takes 8 times as long as the lz4
package that kafka-python reads with. So a finished batch is compressed here, and its header set
right: Kafka protocol, record batch (magic 2), https://kafka.apache.org/documentation/#recordbatch.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import lz4.frame
from aiokafka.producer.message_accumulator import BatchBuilder
from crc32c import crc32c

#: Bytes of one batch before compression.
BATCH = 1 << 20
#: Smaller batches are left as they are: what leaves alone should leave at once.
_COMPRESS_FROM = 4 << 10

_LENGTH, _CRC, _ATTRIBUTES, _RECORDS = 8, 17, 21, 61
_LZ4 = 3


class Batch(BatchBuilder):  # type: ignore[misc]
    """A batch that aiokafka's producer sends as one of its own (AIOKafkaProducer.send_batch)."""

    def __init__(self) -> None:
        super().__init__(BATCH, 0)
        self._compressed: bytes | None = None

    def _build(self) -> bytes:
        # Called when the producer's id and sequence are in, and again when it has to be sent again.
        if self._compressed is None:
            self._compressed = self._buffer = compressed(bytes(super()._build()))
        return self._compressed


def batches(keys: Sequence[bytes | None], values: Sequence[bytes], at: int) -> Iterator[Batch]:
    """Records in order, as full batches. at: milliseconds since 1970. One record always fits."""
    batch = Batch()
    for key, value in zip(keys, values, strict=True):
        if batch.append(timestamp=at, key=key, value=value) is None:
            yield batch
            batch = Batch()
            batch.append(timestamp=at, key=key, value=value)
    if batch.record_count():
        yield batch


def compressed(batch: bytes) -> bytes:
    """A record batch of magic 2, uncompressed, as the same one with its records in an LZ4 frame."""
    if len(batch) < _COMPRESS_FROM:
        return batch
    # Kafka's own reader refuses blocks that refer to the ones before them.
    packed: bytes = lz4.frame.compress(
        memoryview(batch)[_RECORDS:], block_linked=False, block_size=lz4.frame.BLOCKSIZE_MAX256KB
    )
    if len(packed) >= len(batch) - _RECORDS:
        return batch
    header = bytearray(batch[:_RECORDS])
    (attributes,) = struct.unpack_from(">h", header, _ATTRIBUTES)
    struct.pack_into(">h", header, _ATTRIBUTES, attributes | _LZ4)
    struct.pack_into(">i", header, _LENGTH, _RECORDS + len(packed) - _LENGTH - 4)
    struct.pack_into(">I", header, _CRC, crc32c(packed, crc32c(bytes(header[_ATTRIBUTES:]))))
    return bytes(header) + packed
