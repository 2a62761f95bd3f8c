"""The audit: does history hold, key by key, what the source holds, and do the ledger's sums agree?

The connector reads key and hash of every row of a table in one snapshot of the source
(connectors.postgres.audit; this is its other side). Here the same hash is taken over the values
as written of the last change of each key that this very snapshot can see, so that an audit works
under load. Held changes are in history as written like any other.

The hash of a row: for each item in the contract's order "-" when null, else "<n>:<text>" (n =
length in UTF-8 bytes); joined with nothing between; MD5; first 8 bytes, big-endian, as Int64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa

from datarail.columns import WRITTEN
from datarail.position import Lane
from datarail.settings import Settings
from sinks.clickhouse import ClickHouse, literal, quoted
from sinks.history.tables import DATABASE, full_name, table_name
from sinks.ledger.query import Totals

_IDENTITY = "(_epoch, _pos, _idx, _part)"
#: How many keys of each kind a difference names.
_NAMED = 5
_TRUNCATE, _DELETE = ord("t"), ord("d")


@dataclass(frozen=True, slots=True)
class Difference:
    """What the source has and history has not (missing), the other way round (extra), what has
    another value (differing), and changes that stand in history more than once (twice).

    unfollowed: only of a resource without a key, of which inserts alone are carried (DESIGN rule
    10): landed rows that the department has since changed or removed. Each may also stand for one
    row of the source that looks new, so only what exceeds them is missing.
    """

    station: str
    resource: str
    source_rows: int
    landed_rows: int
    missing: int = 0
    extra: int = 0
    differing: int = 0
    twice: int = 0
    unfollowed: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def none(self) -> bool:
        return not (self.missing or self.extra or self.differing or self.twice)


@dataclass(frozen=True, slots=True)
class Finding:
    """One resource's audit: its difference beside the ledger's sums."""

    difference: Difference
    totals: Totals | None

    @property
    def balanced(self) -> bool:
        return self.difference.none and (self.totals is None or self.totals.balanced)

    def record(self) -> dict[str, object]:
        """As `datarail audit --json` shows it."""
        found, sums = self.difference, self.totals
        return {
            "station": found.station,
            "resource": found.resource,
            "captured": sums.captured if sums else 0,
            "landed": sums.landed if sums else 0,
            "quarantined": sums.quarantined if sums else 0,
            "filtered": sums.filtered if sums else 0,
            "missing": found.missing,
            "extra": found.extra,
            "differing": found.differing,
            "twice": found.twice,
            "unfollowed": found.unfollowed,
            "examples": found.examples,
            "balanced": self.balanced,
        }


def compare(
    settings: Settings,
    station: str,
    resource: str,
    items: Sequence[str],
    keyed: bool,
    source: pa.Table,
    snapshot: str,
    store: ClickHouse | None = None,
) -> Difference:
    """Compare a table as it stood in the source with history.

    items: the contract's, in its order. keyed: whether the resource has a key; without one the
    rows are compared as a bag of hashes. source: columns key (utf8) and hash (int64), a row per
    row of the table. snapshot: pg_current_snapshot() it was read in, as text; "" sees everything.
    Raises Transient when ClickHouse is away.
    """
    own = store or ClickHouse(settings.clickhouse)
    try:
        landed, twice = _landed(own, station, resource, items, snapshot)
    finally:
        if store is None:
            own.close()
    left, right = pl.DataFrame(pl.from_arrow(source)), pl.DataFrame(pl.from_arrow(landed))
    missing, extra, differing = _keyed(left, right) if keyed else _bag(left, right)
    unfollowed = 0
    if not keyed:
        unfollowed = len(extra)
        missing, extra = missing.slice(unfollowed), extra.clear()
    named = {
        kind: [str(key) for key in keys.head(_NAMED)]
        for kind, keys in (("missing", missing), ("extra", extra), ("differing", differing))
        if len(keys)
    }
    return Difference(
        station,
        resource,
        source_rows=len(left),
        landed_rows=len(right),
        missing=len(missing),
        extra=len(extra),
        differing=len(differing),
        twice=twice,
        unfollowed=unfollowed,
        examples=named,
    )


def _keyed(source: pl.DataFrame, landed: pl.DataFrame) -> tuple[pl.Series, pl.Series, pl.Series]:
    missing = source.join(landed, on="key", how="anti")["key"]
    extra = landed.join(source, on="key", how="anti")["key"]
    both = source.join(landed, on="key", how="inner", suffix="_landed")
    return missing, extra, both.filter(pl.col("hash") != pl.col("hash_landed"))["key"]


def _bag(source: pl.DataFrame, landed: pl.DataFrame) -> tuple[pl.Series, pl.Series, pl.Series]:
    counts = (
        source.group_by("hash")
        .agg(pl.len().cast(pl.Int64).alias("n"))
        .join(
            landed.group_by("hash").agg(pl.len().cast(pl.Int64).alias("m")),
            on="hash",
            how="full",
            coalesce=True,
        )
        .with_columns((pl.col("n").fill_null(0) - pl.col("m").fill_null(0)).alias("more"))
    )
    # A row without a key has no name; its hash stands for it, as often as it is out of balance.
    missing = counts.filter(pl.col("more") > 0).select(pl.col("hash").repeat_by("more").explode())["hash"]
    extra = counts.filter(pl.col("more") < 0).select(pl.col("hash").repeat_by(-pl.col("more")).explode())[
        "hash"
    ]
    return missing, extra, pl.Series("key", [], dtype=pl.Utf8)


def _landed(
    store: ClickHouse, station: str, resource: str, items: Sequence[str], snapshot: str
) -> tuple[pa.Table, int]:
    table = table_name(station, resource)
    there = {
        name
        for (name,) in store.rows(
            "SELECT name FROM system.columns WHERE database = {database:String} AND table = {table:String}",
            database=DATABASE,
            table=table,
        )
    }
    if not there:
        return pa.table({"key": pa.array([], pa.utf8()), "hash": pa.array([], pa.int64())}), 0
    written = [WRITTEN + item for item in items]
    visible = visible_sql(snapshot)
    from_there = f"{full_name(table)} WHERE {visible}"
    truncated = store.rows(
        f"SELECT max({_IDENTITY}) FROM {from_there} AND _op = {_TRUNCATE} HAVING count() > 0"
    )
    # A truncate ends every row that the source committed before it.
    since = f"{_IDENTITY} > ({', '.join(str(part) for part in truncated[0][0])})" if truncated else "1"
    base = f"{from_there} AND _op != {_TRUNCATE} AND {since}"
    row_hash = hash_sql([quoted(name) if name in there else None for name in written])
    latest = (
        f"SELECT _key AS key, argMax(tuple(_op, {row_hash}, notEmpty(_unchanged_items)), {_IDENTITY}) "
        f"AS last FROM {base} GROUP BY _key"
    )
    whole = store.table(
        f"SELECT key, last.2 AS hash FROM ({latest}) WHERE last.1 != {_DELETE} AND NOT last.3"
    )
    # Where the last change left items out (TOAST), each comes from the last change that had it.
    filled = hash_sql([_last_sent(name) if name in there else None for name in written])
    parts = store.table(
        f"SELECT _key AS key, {filled} AS hash FROM {base} AND _key IN "
        f"(SELECT key FROM ({latest}) WHERE last.1 != {_DELETE} AND last.3) GROUP BY _key"
    )
    twice = store.rows(
        "SELECT count() - uniqExact(_lane, _epoch, _pos, _idx, _part) "
        f"FROM {from_there} AND _op != {_TRUNCATE}"
    )
    return pa.concat_tables([_typed(whole), _typed(parts)]), twice[0][0]


def _typed(rows: pa.Table) -> pa.Table:
    return rows.cast(pa.schema([("key", pa.utf8()), ("hash", pa.int64())]))


def _last_sent(column: str) -> str:
    # tuple(): argMax passes over nulls, and a null that was sent is a value.
    item = literal(column.removeprefix(WRITTEN))
    return (
        f"tupleElement(argMaxIf(tuple({quoted(column)}), {_IDENTITY}, NOT has(_unchanged_items, {item})), 1)"
    )


def hash_sql(texts: Sequence[str | None]) -> str:
    """The row hash over these SQL texts (None: the item is not there, so null), as Int64."""
    parts = [
        f"ifNull(concat(toString(length({text})), ':', {text}), '-')" if text else "'-'" for text in texts
    ]
    joined = f"concat({', '.join(parts)})" if len(parts) > 1 else (parts or ["''"])[0]
    return f"reinterpretAsInt64(reverse(substring(MD5({joined}), 1, 8)))"


def visible_sql(snapshot: str) -> str:
    """Condition: the change is one that this pg_snapshot sees. Snapshot-lane rows always are."""
    if not snapshot:
        return "1"
    xmin, xmax, running = snapshot.split(":")
    open_ones = f" AND _xid NOT IN ({running})" if running else ""
    return f"(_lane = {int(Lane.SNAPSHOT)} OR _xid < {int(xmin)} OR (_xid < {int(xmax)}{open_ones}))"
