"""The first load of one table: key-range chunks, resumable after kill -9 (DESIGN rule 4).

A chunk's range, its pg_snapshot and where its rows begin in Kafka are noted in state before its
first row is sent. After a crash the chunk is read again, and what already stands in Kafka since
that note is left out, so nothing is sent twice:
  - with a key: by key; the chunk keeps the snapshot noted first. Rows read the second time may be
    newer, but then the stream is not cut short either: it still brings every change the first
    snapshot had not seen.
  - without a key (one chunk, the whole table): by content, as a bag; the chunk then counts as
    seen by the second snapshot, which holds both what was sent and what is sent now.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Full, Queue
from typing import Any

import psycopg2
import pyarrow as pa

from connectors.postgres.audit import snapshot_sql
from connectors.postgres.catalog import Table
from connectors.postgres.copying import Blocks, boundary_query, copy_query, range_key
from connectors.postgres.overlap import Key
from connectors.postgres.session import Connection, explain
from connectors.snapshot_trains import row_texts

#: Blocks read ahead while the one before is packed and sent.
_AHEAD = 2


@dataclass(slots=True)
class ChunkRead:
    """One chunk as it is being read. high None: to the end of the table."""

    number: int
    low: Key | None
    high: Key | None
    snapshot: str
    lsn: int
    blocks: Iterator[pa.RecordBatch]


@dataclass(slots=True)
class ChunkReader:
    """Reads a table's chunks one after the other, ahead of whoever takes them, on its own thread.

    connect: gives a session of its own. first, low: the chunk to begin with and what lies
    below it. high: when that first chunk was begun before, its noted end (known: True).
    """

    connect: Callable[[], Connection]
    url: str
    table: Table
    key: Sequence[str]
    rows: int
    first: int = 0
    low: Key | None = None
    known: bool = False
    high: Key | None = None
    _queue: Queue[Any] = field(default_factory=lambda: Queue(_AHEAD))
    _stop: threading.Event = field(default_factory=threading.Event)

    def chunks(self) -> Iterator[ChunkRead]:
        """All chunks in order; each one's blocks must be taken before the next chunk.

        Raises Transient when the source goes away, Terminal when it refuses.
        """
        thread = threading.Thread(target=self._read, name="snapshot", daemon=True)
        thread.start()
        try:
            while (item := self._next()) is not None:
                number, low, high, snapshot, lsn = item
                yield ChunkRead(number, low, high, snapshot, lsn, self._blocks())
        finally:
            self._stop.set()
            thread.join(timeout=30)

    def _blocks(self) -> Iterator[pa.RecordBatch]:
        while (block := self._next()) is not None:
            yield block

    def _next(self) -> Any:
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def _put(self, item: Any) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.5)
                return
            except Full:
                continue
        raise _Stopped

    def _read(self) -> None:
        connection = None
        try:
            connection = self.connect()
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True, autocommit=False)
            self._read_chunks(connection)
        except _Stopped:
            return
        except psycopg2.Error as error:
            self._tell(explain(error, self.url))
        except BaseException as error:
            self._tell(error)
        finally:
            if connection is not None:
                connection.close()

    def _tell(self, error: BaseException) -> None:
        try:
            self._put(error)
        except _Stopped:
            return

    def _read_chunks(self, connection: Connection) -> None:
        key = range_key(self.table, self.key)
        low, number = self.low, self.first
        while True:
            with connection.cursor() as cursor:

                def literal(value: str) -> str:
                    return cursor.mogrify("%s", (value,)).decode()

                cursor.execute(snapshot_sql(connection.server_version))
                snapshot, lsn = cursor.fetchone() or ("", 0)
                if self.known and number == self.first:
                    high = self.high
                else:
                    high = None
                    if key:
                        cursor.execute(boundary_query(self.table, key, low, self.rows, literal))
                        high = cursor.fetchone()
                self._put((number, low, high, snapshot, lsn))
                blocks = Blocks(self.table, self._put)
                cursor.copy_expert(copy_query(self.table, key, low, high, literal), blocks)
                blocks.flush()
                self._put(None)
            # Each chunk its own snapshot: the source may clean up behind us.
            connection.rollback()
            if high is None:
                self._put(None)
                return
            low, number = high, number + 1


class _Stopped(Exception):
    """Nobody takes the chunks any more."""


def leave_out(block: pa.RecordBatch, key: Sequence[str], sent: Counter[str]) -> pa.RecordBatch:
    """The rows of a block that are not among those sent before; takes them out of `sent`."""
    if not sent:
        return block
    keep = []
    for text in row_texts(block, key):
        if sent[text] > 0:
            sent[text] -= 1
            keep.append(False)
        else:
            keep.append(True)
    return block.filter(pa.array(keep, pa.bool_()))
