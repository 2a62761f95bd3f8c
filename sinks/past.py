"""What history remembers: the changes of one partition, to derive a lost store from anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from datarail.columns import WRITTEN, column
from datarail.position import Mark
from sinks.clickhouse import UNKNOWN_DATABASE, UNKNOWN_TABLE, ClickHouse, Refused, quoted

_META = (
    *("_op", "_lane", "_seq", "_epoch", "_pos", "_idx", "_part", "_commit", "_unchanged"),
    *("_key", "_held", "_findings"),
)
_IDENTITY = ("_epoch", "_pos", "_idx", "_part")
_ORDER = f"_key, {', '.join(_IDENTITY)}, _offset"
_TRUNCATE = ord("t")
#: Changes a page.
_PAGE = 100_000


class Past:
    """Reads what the history sink wrote (sinks.history), of which it needs only the tables."""

    def __init__(self, store: ClickHouse, page: int = _PAGE) -> None:
        self._store = store
        self._page = page

    def mark(self, topic: str, partition: int) -> Mark:
        """Up to where history is complete; offset 0 when it knows nothing of the partition."""
        try:
            found = self._store.rows(
                "SELECT argMax(mark, offset) FROM history.mark WHERE topic = {topic:String} "
                "AND partition = {partition:UInt32} HAVING count() > 0",
                topic=topic,
                partition=partition,
            )
        except Refused as error:
            if error.code in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
                return Mark()
            raise
        return Mark.parse(found[0][0]) if found else Mark()

    def changes(
        self, station: str, resource: str, items: Iterable[str], partition: int, end: int
    ) -> Iterator[pa.RecordBatch]:
        """Clean cars with these items, of all changes below the offset `end`: truncates first,
        then, of what none of them made void, key by key in the order of identity; no key is cut in two."""
        table = f"history.{quoted(f'{station}.{resource}')}"
        there = self._columns(f"{station}.{resource}")
        if not there:
            return
        # The bitmap of unchanged items counts the items as written, in their order.
        written = [name for name in there if name.startswith(WRITTEN)]
        wanted = [column(item) for item in items]
        names = ", ".join(quoted(name) for name in [*_META, *(name for name in wanted if name in there)])
        blank = ", ".join(f"CAST(NULL, 'Nullable(String)') AS {quoted(name)}" for name in written)
        select = f"SELECT {names}{', ' if blank else ''}{blank} FROM {table}"
        where = f"WHERE _partition = {partition:d} AND _offset < {end:d}"
        truncates = self._store.table(f"{select} {where} AND _op = {_TRUNCATE} ORDER BY {_ORDER}")
        yield from _batches(truncates)
        where += f" AND _op != {_TRUNCATE}"
        if truncates.num_rows:
            # What is void must not even fill in what a later change left out.
            void = max(zip(*(truncates.column(name).to_pylist() for name in _IDENTITY), strict=True))
            where += f" AND ({', '.join(_IDENTITY)}) > ({', '.join(map(str, void))})"
        last, limit = None, self._page
        while True:
            after = "" if last is None else " AND _key > {last:String}"
            page = self._store.table(
                f"{select} {where}{after} ORDER BY {_ORDER} LIMIT {limit}", last=last or ""
            )
            if page.num_rows < limit:
                yield from _batches(page)
                return
            keys = page.column("_key")
            final = keys[-1].as_py()
            whole = pc.sum(pc.not_equal(keys, final)).as_py()
            if not whole:  # one key fills the page
                limit *= 2
                continue
            yield from _batches(page.slice(0, whole))
            last, limit = keys[whole - 1].as_py(), self._page

    def _columns(self, table: str) -> list[str]:
        found = self._store.rows(
            "SELECT name FROM system.columns WHERE database = 'history' AND table = {table:String} "
            "ORDER BY position",
            table=table,
        )
        return [name for (name,) in found]


def _batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    # ClickHouse has no binary type of its own: what is text there may be a bitmap here.
    for name in ("_unchanged",):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, table.column(at).cast(pa.binary()))
    yield from table.combine_chunks().to_batches()
