"""Compressed batches hold what went in, for both Kafka clients of the project."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from kafka.record import MemoryRecords

from streams.batches import BATCH, batches, compressed

AT = 1_777_000_000_123


def records(built: list[bytes]) -> list[Any]:
    read = MemoryRecords(b"".join(built))
    found: list[Any] = []
    while (batch := read.next_batch()) is not None:
        assert batch.validate_crc()
        found += [(record.key, record.value, record.timestamp) for record in batch]
    return found


@pytest.mark.parametrize("rows", [1, 7, 500, 9000])
def test_what_goes_in_comes_out(rows: int) -> None:
    keys: list[bytes | None] = [str(i).encode() if i % 9 else None for i in range(rows)]
    values = [b'{"after":{"name":"%d"}}' % i * 12 for i in range(rows)]
    made = list(batches(keys, values, AT))
    for number, batch in enumerate(made):
        batch._set_producer_state(42, 1, number)
    built = [batch._build() for batch in made]
    assert [batch._build() for batch in made] == built
    assert records(built) == [(key, value, AT) for key, value in zip(keys, values, strict=True)]
    if rows == 9000:
        assert len(made) > 1
        assert sum(map(len, built)) < sum(map(len, values)) / 5


def test_what_does_not_shrink_is_left() -> None:
    plain = BatchBuilder(BATCH, 0)
    plain.append(timestamp=AT, key=None, value=bytes(range(256)) * 4)
    text = bytes(plain._build())
    assert compressed(text) == text
