"""What the line's stores take on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from datarail.settings import Settings
from sinks.clickhouse import ClickHouse


def on_disk(settings: Settings) -> dict[str, int]:
    """Bytes by store. clickhouse: parts in use, as merges leave the old ones lying for minutes;
    redis: its append-only file; rocksdb: the sinks' own contributions; kafka: all logs and indexes."""
    with closing(ClickHouse(settings.clickhouse)) as store:
        sql = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database NOT IN ('system')"
        parts = int(store.rows(sql)[0][0])
    data = settings.home / "data"
    return {
        "kafka": _within(data / "kafka"),
        "clickhouse": parts,
        "redis": _within(data / "redis"),
        "rocksdb": _within(settings.home / "sinks"),
    }


def grown(settings: Settings, before: Mapping[str, int]) -> dict[str, int]:
    """What they have grown by; less than nothing where a merge or a rewriting came between."""
    return {store: size - before[store] for store, size in on_disk(settings).items()}


def _within(folder: Path) -> int:
    return sum(_blocks(folder)) if folder.is_dir() else 0


def _blocks(folder: Path) -> Iterator[int]:
    """What is allocated: Kafka's indexes and RocksDB's logs are made larger than what is in them."""
    for entry in os.scandir(folder):
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _blocks(Path(entry.path))
            else:
                yield entry.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:
            continue  # merged or rolled away meanwhile
