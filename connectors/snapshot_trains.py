"""Rows read in a snapshot to trains of the snapshot lane. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from zlib import crc32

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from connectors.rows import READ, TRUNCATE, count_ops
from connectors.train_builder import Packed, Reached
from datarail.columns import META, WRITTEN, raw_schema
from datarail.keys import key_column
from datarail.position import SNAPSHOT_INDEX, Identity, Lane
from datarail.train import CarEntry, Manifest

#: Rows of one snapshot train.
MOST_ROWS = 16384


class SnapshotPacker:
    """Makes trains of one resource's rows; index numbers them within the station and floor."""

    def __init__(
        self,
        station: str,
        resource: str,
        key: Sequence[str],
        floor: Identity,
        reached: list[Reached],
        index: int,
    ) -> None:
        self.station = station
        self.resource = resource
        self.key = tuple(key)
        self.floor = floor
        self.reached = reached
        self.index = index

    def pack(self, block: pa.RecordBatch, read_at: int, now: int) -> list[Packed]:
        """Trains of a block of as-written columns (utf8, named _w_<item>)."""
        count = block.num_rows
        if count == 0:
            return []
        index = np.arange(self.index, self.index + count, dtype=np.uint64) + np.uint64(SNAPSHOT_INDEX)
        self.index += count
        target = self._targets(block, index)
        trains = []
        for partition in range(len(self.reached)):
            places = np.flatnonzero(target == partition)
            for start in range(0, len(places), MOST_ROWS):
                rows = places[start : start + MOST_ROWS]
                values = (block.take(pa.array(rows)) if len(rows) < count else block).columns
                items = [name.removeprefix(WRITTEN) for name in block.schema.names]
                trains.append(self._train(partition, READ, items, index[rows], values, read_at, now))
        return trains

    def truncate(
        self, partitions: Sequence[int], items: Sequence[str], read_at: int, now: int
    ) -> list[Packed]:
        """A truncate ahead of a snapshot read again: rows gone meanwhile must not stay."""
        index = np.array([SNAPSHOT_INDEX + self.index], np.uint64)
        self.index += 1
        values = [pa.nulls(1, pa.utf8()) for _ in items]
        return [
            self._train(partition, TRUNCATE, items, index, values, read_at, now) for partition in partitions
        ]

    def _targets(self, block: pa.RecordBatch, index: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        start = crc32(self.resource.encode())
        if self.key:
            keys = key_bytes(block, self.key)
        else:
            epoch, position = self.floor.epoch, self.floor.position
            keys = [Identity(epoch, position, n).text().encode() for n in index.tolist()]
        crcs = np.fromiter(map(crc32, keys, repeat(start)), np.int64, len(keys))
        return crcs % len(self.reached)

    def _train(
        self,
        partition: int,
        op: int,
        items: Sequence[str],
        index: npt.NDArray[np.uint64],
        values: list[pa.Array],
        read_at: int,
        now: int,
    ) -> Packed:
        count = len(index)
        first, last = self.reached[partition].take(Lane.SNAPSHOT, count)
        ops = np.full(count, op, np.uint8)
        meta = [
            pa.array(ops),
            pa.array(np.full(count, Lane.SNAPSHOT, np.uint8)),
            pa.array(np.arange(first, last + 1, dtype=np.uint64)),
            pa.array(np.full(count, self.floor.epoch, np.uint32)),
            pa.array(np.full(count, self.floor.position, np.uint64)),
            pa.array(index),
            pa.array(np.zeros(count, np.uint8)),
            pa.array(np.zeros(count, np.uint64)),
            pa.array(np.full(count, read_at, np.int64)).cast(META[8][1]),
            pa.nulls(count, pa.binary()),
        ]
        car = pa.RecordBatch.from_arrays([*meta, *values], schema=raw_schema(items))
        manifest = Manifest(
            self.station,
            self.floor.epoch,
            now,
            {Lane.SNAPSHOT: (first, last)},
            [
                CarEntry(
                    self.resource,
                    Lane.SNAPSHOT,
                    count,
                    count_ops(ops.tobytes(), partition),
                    first_commit=read_at,
                    last_commit=read_at,
                )
            ],
            self.reached[partition].last,
        )
        return Packed(partition, manifest, [car])


def key_bytes(block: pa.RecordBatch, key: Sequence[str]) -> list[bytes]:
    """datarail.keys.key_text of every row, as UTF-8."""
    if len(key) == 1:
        column = block.column(WRITTEN + key[0])
    else:
        frame = pl.DataFrame(block.select([WRITTEN + item for item in key]))
        column = frame.select(key_column(key))["_key"].to_arrow().cast(pa.utf8())
    found: list[bytes] = column.fill_null("").cast(pa.binary()).to_pylist()
    return found


def row_texts(block: pa.RecordBatch, key: Sequence[str]) -> list[str]:
    """What tells a row from others: its key; without one, all it says."""
    names = (
        [WRITTEN + item for item in key] if key else [n for n in block.schema.names if n.startswith(WRITTEN)]
    )
    columns = [block.column(name).to_pylist() for name in names]
    return [repr(row) for row in zip(*columns, strict=True)]
