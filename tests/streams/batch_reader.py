"""Kafka batches read back, by a client that is not the one that sends them."""

from __future__ import annotations

from collections.abc import Iterable

from kafka.record import MemoryRecords

from streams.batches import Batch


def read(built: Iterable[bytes]) -> list[tuple[bytes | None, bytes, int]]:
    """Keys, values and moments of batches as they are sent, their checksums looked at."""
    reader = MemoryRecords(b"".join(built))
    found: list[tuple[bytes | None, bytes, int]] = []
    while (batch := reader.next_batch()) is not None:
        assert batch.validate_crc()
        found += [(record.key, record.value, record.timestamp) for record in batch]
    return found


def pairs(batches: Iterable[Batch]) -> list[tuple[bytes | None, bytes]]:
    return [(key, value) for key, value, _ in read(batch._build() for batch in batches)]
