"""Rows of history from clean trains: the cars as they are, with their place in Kafka. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from datarail.columns import WRITTEN
from datarail.topics import station_of
from datarail.train import as_batch
from sinks.clickhouse import ClickHouse
from sinks.feeds import TRAINS
from sinks.history.tables import DATABASE, UNCHANGED_ITEMS, Tables, table_name
from sinks.planned import Block, Range
from sinks.port import Arrival


class HistoryLanding:
    """sinks.planned.Landing of the history."""

    name = "history"
    database = DATABASE
    feed = TRAINS
    row_key: Sequence[str] = ("_partition", "_offset", "_lane", "_seq")
    landed = "_landed"

    def __init__(self) -> None:
        self.tables = Tables()

    def blocks(self, arrivals: list[Arrival], ranges: Sequence[Range]) -> Iterator[Block]:
        """One block per resource and set of columns: as few and as large as can be."""
        gathered: dict[tuple[str, pa.Schema], list[tuple[Arrival, pa.RecordBatch]]] = {}
        for arrival in arrivals:
            manifest = arrival.train.manifest
            for entry, car in zip(manifest.cars, arrival.train.cars, strict=True):
                if car.num_rows:
                    batch = as_batch(car)
                    schema = batch.schema.remove_metadata()
                    gathered.setdefault((table_name(manifest.station, entry.resource), schema), []).append(
                        (arrival, batch)
                    )
        for (table, schema), cars in gathered.items():
            rows = pa.Table.from_batches([car.replace_schema_metadata(None) for _, car in cars], schema)
            counts = [car.num_rows for _, car in cars]
            partitions = np.repeat(np.array([arrival.partition for arrival, _ in cars], np.uint32), counts)
            offsets = np.repeat(np.array([arrival.offset for arrival, _ in cars], np.uint64), counts)
            rows = rows.append_column("_partition", pa.array(partitions))
            rows = rows.append_column("_offset", pa.array(offsets))
            rows = rows.append_column(UNCHANGED_ITEMS, unchanged_items(rows))
            yield Block(table, rows, f"{zlib.crc32(str(schema).encode()):08x}")

    def prepare(self, store: ClickHouse, block: Block) -> None:
        self.tables.prepare(store, block.table, block.rows.schema)

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
