"""Batches hold what went in, for both Kafka clients' readers, however they were made."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords as AioMemoryRecords
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.util import decode_varint

from streams.batches import BATCH, Batch, Pairs, Records, batches, packed, varint
from tests.streams.batch_reader import read

AT = 1_777_000_000_123
#: Lengths on both sides of where a length takes another byte.
LENGTHS = (0, 1, 50, 63, 64, 100, 8191, 8192, 20_000)


def built(made: list[Batch]) -> list[bytes]:
    for number, batch in enumerate(made):
        batch._set_producer_state(42, 1, number)
    texts = [batch._build() for batch in made]
    assert [batch._build() for batch in made] == texts
    assert all(batch.closed() and batch.append(timestamp=AT, key=None, value=b"") is None for batch in made)
    return texts


def both(pairs: Pairs) -> list[list[Batch]]:
    """The same records made both ways."""
    keys = [None if key is None else key.decode() for key in pairs.keys]
    values = [value.decode() for value in pairs.values]
    columns = Records(pl.Series(keys, dtype=pl.String), pl.Series(values, dtype=pl.String))
    assert columns.pairs() == pairs
    assert columns.longest(0) == max(map(len, pairs.values), default=0)
    return [list(batches(pairs, AT)), list(packed(columns, AT))]


@pytest.mark.parametrize("rows", [0, 1, 7, 500, 20_000])
def test_what_goes_in_comes_out(rows: int) -> None:
    keys: list[bytes | None] = [str(i).encode() if i % 9 else None for i in range(rows)]
    values = [b'{"after":{"name":"%d"}}' % i * (12 if i % 100 else 2) for i in range(rows)]
    for made in both(Pairs(keys, values)):
        texts = built(made)
        assert read(texts) == [(key, value, AT) for key, value in zip(keys, values, strict=True)]
        assert sum(batch.record_count() for batch in made) == rows
        if rows == 20_000:
            assert len(made) > 1
            assert sum(map(len, texts)) < sum(map(len, values)) / 5


@given(st.lists(st.tuples(st.none() | st.sampled_from(LENGTHS[:-1]), st.sampled_from(LENGTHS)), max_size=40))
def test_lengths_of_every_size(lengths: list[tuple[int | None, int]]) -> None:
    pairs = Pairs([None if k is None else b"k" * k for k, _ in lengths], [b"v" * v for _, v in lengths])
    for made in both(pairs):
        assert read(built(made)) == [(key, value, AT) for key, value in zip(*pairs, strict=True)]


def test_a_batch_is_full_before_it_is_too_large() -> None:
    values = [b"v" * size for size in (BATCH // 2, BATCH // 3, BATCH // 3, 2 * BATCH, 1, 1)]
    for made in both(Pairs([b"k"] * len(values), values)):
        assert [batch.record_count() for batch in made] == [2, 1, 1, 2]


def test_small_ones_are_as_aiokafka_writes_them() -> None:
    """What is not compressed is, byte for byte, what aiokafka's own builder makes of the same records."""
    keys: list[bytes | None] = [None, b"", b"key", b"k" * 70]
    values = [b"", b"v", b"v" * 64, bytes(range(256))]
    plain = BatchBuilder(BATCH, 0)
    for key, value in zip(keys, values, strict=True):
        plain.append(timestamp=AT, key=key, value=value)
    plain._set_producer_state(42, 1, 7)
    expected = bytes(plain._build())
    (batch,) = batches(Pairs(keys, values), AT)
    batch._set_producer_state(42, 1, 7)
    assert batch._build() == expected


def test_what_does_not_shrink_is_left() -> None:
    value = random.Random(7).randbytes(10_000)
    (batch,) = batches(Pairs([None], [value]), AT)
    text = batch._build()
    assert value in text and read([text]) == [(None, value, AT)]


def test_aiokafka_reads_what_is_not_compressed() -> None:
    for made in both(Pairs([b"1", None], [b"one", b"two"])):
        reader: Any = AioMemoryRecords(b"".join(built(made)))
        batch = reader.next_batch()
        assert batch.validate_crc()
        assert [(record.key, record.value) for record in batch] == [(b"1", b"one"), (None, b"two")]


@pytest.mark.parametrize("number", [-1, 0, 1, 63, 64, 8191, 8192, 1 << 20, 1 << 30])
def test_varints(number: int) -> None:
    assert decode_varint(varint(number)) == (number, len(varint(number)))
