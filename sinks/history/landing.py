"""Rows of history from clean trains: the cars as they are, with their place in Kafka. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datarail.columns import WRITTEN
from datarail.neighbours import no_more_than
from datarail.small_car import Shape, SmallCar, to_batch
from datarail.topics import station_of
from sinks.clickhouse import ClickHouse
from sinks.feeds import TRAINS
from sinks.history import arriving
from sinks.history.tables import DATABASE, UNCHANGED_ITEMS, Tables, table_name
from sinks.lateness import FRESH
from sinks.planned import Block, Range
from sinks.port import Arrival

#: Rows of one insert, unless one car has more: it is in memory three times over while it is made and
#: sent, and larger ones cost the server hardly less.
BLOCK_ROWS = 100_000


class _Piece(NamedTuple):
    """Rows in Arrow, and by row the Kafka partition and offset they came by."""

    rows: pa.RecordBatch
    partitions: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.uint64]


def _pieces(arrivals: Sequence[Arrival]) -> Iterator[tuple[str, _Piece]]:
    """All rows by table; what came in small cars is joined before it becomes Arrow."""
    small: dict[tuple[str, Shape], list[tuple[Arrival, SmallCar]]] = {}
    for arrival in arrivals:
        manifest = arrival.train.manifest
        for entry, car in zip(manifest.cars, arrival.train.cars, strict=True):
            table = table_name(manifest.station, entry.resource)
            if not car.num_rows:
                continue
            if isinstance(car, SmallCar):
                small.setdefault((table, car.shape), []).append((arrival, car))
            else:
                yield table, _piece(car.replace_schema_metadata(None), [(arrival, car.num_rows)])
    for (table, columns), cars in small.items():
        rows = [row for _, car in cars for row in car.rows]
        yield table, _piece(to_batch(columns, rows), [(arrival, car.num_rows) for arrival, car in cars])


def _piece(rows: pa.RecordBatch, origins: Sequence[tuple[Arrival, int]]) -> _Piece:
    counts = [count for _, count in origins]
    return _Piece(
        rows,
        np.repeat(np.array([arrival.partition for arrival, _ in origins], np.uint32), counts),
        np.repeat(np.array([arrival.offset for arrival, _ in origins], np.uint64), counts),
    )


def _table(pieces: Sequence[_Piece], schema: pa.Schema) -> pa.Table:
    rows = pa.Table.from_batches([piece.rows for piece in pieces], schema)
    partitions = np.concatenate([piece.partitions for piece in pieces])
    offsets = np.concatenate([piece.offsets for piece in pieces])
    rows = rows.append_column("_partition", pa.array(partitions))
    rows = rows.append_column("_offset", pa.array(offsets))
    return rows.append_column(UNCHANGED_ITEMS, unchanged_items(rows))


class HistoryLanding:
    """sinks.planned.Landing of the history."""

    name = "history"
    database = DATABASE
    feed = TRAINS
    row_key: Sequence[str] = ("_partition", "_offset", "_lane", "_seq")
    landed = "_landed"
    fresh = FRESH

    def __init__(self) -> None:
        self.tables = Tables()

    def blocks(self, arrivals: list[Arrival], ranges: Sequence[Range]) -> Iterator[Block]:
        """Of each resource and set of columns as few blocks as can be."""
        gathered: dict[tuple[str, pa.Schema], list[_Piece]] = {}
        for table, piece in _pieces(arrivals):
            gathered.setdefault((table, piece.rows.schema), []).append(piece)
        for (table, schema), pieces in gathered.items():
            shape = f"{zlib.crc32(str(schema).encode()):08x}"
            # The same pieces are cut in the same places: their tokens tell them.
            cut = no_more_than(pieces, lambda piece: piece.rows.num_rows, BLOCK_ROWS)
            for number, some in enumerate(cut):
                yield Block(table, _table(some, schema), f"{shape}/{number}" if number else shape)

    def prepare(self, store: ClickHouse, block: Block) -> None:
        if self.tables.prepare(store, block.table, block.rows.schema):
            arriving.create(store)
            arriving.create_view(store, block.table, self.tables.columns(block.table))

    def within(self, ranges: Sequence[Range]) -> str:
        # A table is of one station, so of one topic; rows of another's ranges do no harm here.
        return " OR ".join(
            f"(_partition = {span.partition} AND _offset >= {span.first} AND _offset < {span.end})"
            for span in ranges
        )

    def holds(self, table: str, topic: str) -> bool:
        return table.startswith(f"{station_of(topic)}.")


def unchanged_items(rows: pa.Table) -> pa.ListArray:
    """Names of the items each row did not send because they did not change (TOAST)."""
    bitmaps = rows.column("_unchanged")
    counts = np.zeros(rows.num_rows, np.int32)
    names: list[str] = []
    if bitmaps.null_count < rows.num_rows:
        items = [name.removeprefix(WRITTEN) for name in rows.schema.names if name.startswith(WRITTEN)]
        sets = np.flatnonzero(bitmaps.is_valid().to_numpy(zero_copy_only=False))
        for index in sets:  # few: only rows that were updated around a large value
            bitmap = bitmaps[int(index)].as_py()
            chosen = [item for bit, item in enumerate(items) if bitmap[bit // 8] >> bit % 8 & 1]
            counts[index] = len(chosen)
            names += chosen
    offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum(counts, dtype=np.int32)])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(names, pa.utf8()))
