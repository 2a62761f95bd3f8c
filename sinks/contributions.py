"""What each source key last contributed: a local RocksDB per (sink, topic, partition).

DESIGN rule 6: with the default replica identity an update brings no old row, so a sink that has
to take back what a row counted before must remember it. 140 million contributions do not fit in
memory or in Redis; here they are on disk, with the mark of the last train in the same atomic
write. Redis is written first: what is here has happened there.

Keys are `<resource>\\0<source key>`; the sink decides what the value bytes are. Keys beginning
with \\0 are the store's own: the mark, and what the sink notes beside it.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompactionStyle,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
)

from datarail.errors import Terminal, Transient
from datarail.position import Mark

_MARK = b"\0mark"
_NOTE = b"\0note\0"
_CHUNK = 10_000
#: Per partition: two write buffers. One block cache is shared by all of a process.
_WRITE_BUFFER = 8 << 20
_BLOCK_CACHE, _BLOCK = 32 << 20, 2048


class Contributions:
    """One partition's contributions. Raises Transient while another process has them open."""

    def __init__(self, folder: Path, cache: Cache) -> None:
        self._folder = folder
        self._cache = cache
        self._db = self._open()

    def mark(self) -> Mark | None:
        """What the contributions cover; None when there are none yet (new, or lost)."""
        text = self._db.get(_MARK)
        return Mark.parse(text.decode()) if text is not None else None

    def note(self, name: str) -> bytes | None:
        """What the sink noted under a name with an earlier put."""
        found: bytes | None = self._db.get(_NOTE + name.encode())
        return found

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The contribution of each key. Ask in sorted order: neighbours share a block."""
        found = self._db.get(list(keys))
        assert isinstance(found, list)
        return found

    def put(
        self,
        keys: Sequence[bytes],
        values: Sequence[bytes],
        mark: Mark | None = None,
        notes: Iterable[tuple[str, bytes]] = (),
    ) -> None:
        """Write contributions, notes and the mark at once, or none of them."""
        batch = WriteBatch(raw_mode=True)
        put = batch.put
        if len(keys) != len(values):
            raise ValueError(f"{len(keys)} keys, {len(values)} values")
        deque(map(put, keys, values), maxlen=0)
        for name, value in notes:
            put(_NOTE + name.encode(), value)
        if mark is not None:
            put(_MARK, mark.text().encode())
        self._db.write(batch)

    def scan(self, resource: str) -> Iterator[list[tuple[bytes, bytes]]]:
        """All contributions of a resource in chunks of (key, value), in the order of the keys."""
        prefix = key_prefix(resource)
        cursor = self._db.iter()
        cursor.seek(prefix)
        chunk: list[tuple[bytes, bytes]] = []
        while cursor.valid() and (key := cursor.key()).startswith(prefix):
            chunk.append((key, cursor.value()))
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
            cursor.next()
        if chunk:
            yield chunk

    def forget(self, keys: Iterable[bytes]) -> None:
        """Drop contributions that no longer mean anything."""
        batch = WriteBatch(raw_mode=True)
        for key in keys:
            batch.delete(key)
        self._db.write(batch)

    def wipe(self) -> None:
        """Begin again with nothing."""
        self._db.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._db = self._open()

    def close(self) -> None:
        self._db.close()

    def _open(self) -> Rdict:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            return Rdict(str(self._folder), _options(self._cache))
        except Exception as error:  # rocksdict raises bare Exception for everything
            if "lock" in str(error).lower():
                raise Transient(f"contributions are in use by another process: {error}") from error
            raise Terminal(
                f"contributions cannot be opened: {error}",
                part=str(self._folder),
                remedy="remove the folder: it is rebuilt from history",
            ) from error


class ContributionStores:
    """All partitions of one sink, below `<home>/sinks/<sink>/<topic>/<partition>`."""

    def __init__(self, home: Path, sink: str) -> None:
        self.folder = home / "sinks" / sink
        self._cache = Cache(_BLOCK_CACHE)

    def open(self, topic: str, partition: int) -> Contributions:
        return Contributions(self.folder / quote(topic, safe="") / str(partition), self._cache)

    def wipe(self) -> None:
        """Remove every partition's contributions; none may be open."""
        shutil.rmtree(self.folder, ignore_errors=True)


def key_prefix(resource: str) -> bytes:
    """What all keys of a resource begin with."""
    return resource.encode() + b"\0"


def _options(cache: Cache) -> Options:
    # Measured at 100,000 keys, batches of 4,000: sorted gets and no compression take a row from 4.8
    # to 3.2 µs. The log is not synced: after a power cut the mark is merely older.
    # At a million keys, 2,000 at a time, whole runs merged with others instead of level by level,
    # and a bloom filter before the skip list of what is not on disk yet: 4.6 → 2.9 µs.
    # Files are not mapped into memory: at two million keys they were 180 MB of the process, and would
    # grow with the city; filters and index, which stay, are 2.2 bytes a key. Read through the cache a
    # row takes some 2 µs more there (3 with blocks of 4 KB); where it has most of them, as long as before.
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_block_size(_BLOCK)
    table.set_bloom_filter(10, False)
    table.set_cache_index_and_filter_blocks(False)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(_WRITE_BUFFER)
    options.set_max_write_buffer_number(2)
    options.set_memtable_prefix_bloom_ratio(0.1)
    options.set_memtable_whole_key_filtering(True)
    options.set_compaction_style(DBCompactionStyle.universal())
    options.set_level_zero_file_num_compaction_trigger(8)
    options.set_compression_type(DBCompressionType.none())
    options.set_max_open_files(128)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1 << 20)
    options.set_block_based_table_factory(table)
    return options
