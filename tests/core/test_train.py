"""Trains survive the way through Kafka, and a damaged one is refused with a reason."""

from __future__ import annotations

import zlib

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datarail.columns import column, item_of, raw_schema
from datarail.errors import BadRecord
from datarail.position import Identity, Lane
from datarail.train import CarEntry, Manifest, decode, encode, merge_seq, read_manifest

TEXT = st.one_of(st.none(), st.text(max_size=20))


def car(values: list[str | None]) -> pa.RecordBatch:
    rows = len(values)
    schema = raw_schema(["xm"])
    meta = [pa.array([99] * rows, schema.field(0).type), pa.array([0] * rows, schema.field(1).type)]
    meta += [pa.array(range(1, rows + 1), pa.uint64()), pa.array([1] * rows, pa.uint32())]
    meta += [pa.array([7] * rows, pa.uint64()), pa.array(range(rows), pa.uint64())]
    meta += [pa.array([0] * rows, pa.uint8()), pa.array([5] * rows, pa.uint64())]
    meta += [pa.array([0] * rows, pa.timestamp("us", "UTC")), pa.array([None] * rows, pa.binary())]
    return pa.record_batch([*meta, pa.array(values, pa.utf8())], schema=schema)


def manifest(*rows: int) -> Manifest:
    entries = [CarEntry(f"r{i}", Lane.STREAM, n, {"c": n}) for i, n in enumerate(rows)]
    return Manifest(
        "police.household", 1, 17, {Lane.STREAM: (1, sum(rows))}, entries, Identity(1, 7, 3), (4, 6)
    )


@given(st.lists(st.lists(TEXT, min_size=1, max_size=90), max_size=4))
def test_what_goes_in_comes_out(tables: list[list[str | None]]) -> None:
    cars = [car(values) for values in tables]
    value, headers = encode(manifest(*(len(values) for values in tables)), cars)
    train = decode(value, headers)
    assert [got.to_pydict() for got in train.cars] == [sent.to_pydict() for sent in cars]
    assert [(entry.resource, entry.rows, entry.ops) for entry in train.manifest.cars] == [
        (entry.resource, entry.rows, entry.ops) for entry in manifest(*(len(v) for v in tables)).cars
    ]
    assert train.manifest.seq == {Lane.STREAM: (1, sum(map(len, tables)))}
    assert train.manifest.last == Identity(1, 7, 3)
    assert train.manifest.raw == (4, 6)


@pytest.mark.parametrize(
    "damage", [lambda v: v[:-9], lambda v: v + b"x", lambda v: b"\0" * len(v), lambda v: b""]
)
def test_a_damaged_value_is_refused(damage) -> None:  # type: ignore[no-untyped-def]
    value, headers = encode(manifest(2), [car(["张", None])])
    with pytest.raises(BadRecord):
        decode(damage(value), headers)


def test_a_large_car_travels_in_a_frame() -> None:
    batch = car(["张三"] * 1000)
    value, headers = encode(manifest(1000, 1), [batch, car(["李四"])])
    train = decode(value, headers)
    (large, small) = train.manifest.cars
    assert small.plain == 0 < large.bytes < large.plain
    assert train.cars[0].equals(batch)
    assert pa.ipc.open_stream(pa.decompress(value[: large.bytes], large.plain, codec="zstd"))
    wrong = dict(headers) | {"manifest": dict(headers)["manifest"].replace(str(large.plain).encode(), b"9")}
    with pytest.raises(BadRecord):
        decode(value, wrong)


def test_a_car_that_arrow_compressed_is_read() -> None:
    batch = car(["张三"] * 100)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(batch)
    value = sink.getvalue().to_pybytes()
    told = manifest(100)
    _, headers = encode(told, [batch])
    text = orjson.loads(dict(headers)["manifest"]) | {"crc": zlib.crc32(value)}
    text["cars"][0][4] = len(value)
    text["cars"][0] = text["cars"][0][:10]  # as it was before cars had frames
    assert decode(value, [("datarail", b"1"), ("manifest", orjson.dumps(text))]).cars[0].equals(batch)


@pytest.mark.parametrize(
    "headers", [None, [], [("datarail", b"9")], [("datarail", b"1"), ("manifest", b"{")]]
)
def test_a_record_that_is_no_train_is_refused(headers: list[tuple[str, bytes]] | None) -> None:
    with pytest.raises(BadRecord):
        read_manifest(headers)


@given(st.text())
def test_item_names_are_spelled_and_read_back(item: str) -> None:
    assert item_of(column(item)) == item
    assert not column(item).startswith(
        ("_o", "_l", "_s", "_e", "_p", "_i", "_x", "_c", "_u", "_w", "_k", "_h", "_f")
    )


def test_seq_ranges_join() -> None:
    parts = [{Lane.STREAM: (1, 4)}, {Lane.STREAM: (5, 9), Lane.SNAPSHOT: (1, 2)}]
    assert merge_seq(parts) == {Lane.STREAM: (1, 9), Lane.SNAPSHOT: (1, 2)}
