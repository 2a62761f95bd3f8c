"""The source's side of the audit: key and hash of every row, at one snapshot.

The hash of a row is taken over its items as written, in the contract's order of items:

    for each item   "-"                     when it is null
                    "<n>:<text>"            else; n = length of the text in UTF-8 bytes, decimal
    joined with nothing between, UTF-8; then MD5; its first 8 bytes, big-endian, as signed Int64.

In ClickHouse, over the as-written columns of history:

    reinterpretAsInt64(reverse(substring(MD5(concat(
        ifNull(concat(toString(length(`_w_a`)), ':', `_w_a`), '-'),
        ifNull(concat(toString(length(`_w_b`)), ':', `_w_b`), '-'))), 1, 8)))

(length() counts bytes there.) Unchanged TOAST items must be filled with their last written value
first. The key is datarail.keys.key_text: one item: its text; several: a compact JSON array; a
resource without a key: the empty text, and only hashes can be compared, as a bag.
An item the table no longer has is left out: what history keeps of it has no counterpart. So are
rows that the contract's `only` leaves out.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence

import psycopg2
import pyarrow as pa
from pyarrow import csv

from connectors.port import SourceRows
from connectors.postgres.catalog import Table, quoted, read_table
from connectors.postgres.session import connect, explain
from datarail.contract import Contract


def read_rows(contract: Contract, resource: str, url: str, password: str | None) -> SourceRows:
    """Key and hash of every row of a resource, in one REPEATABLE READ READ ONLY transaction.

    Raises Transient when the source is away, Terminal when table or privilege is missing.
    """
    connection = connect(url, password, name="datarail audit", autocommit=False)
    wanted = contract.resources[resource]
    try:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        table = read_table(connection, wanted.schema_name, wanted.table_name)
        with connection.cursor() as cursor:
            cursor.execute(snapshot_sql(connection.server_version))
            snapshot, lsn = cursor.fetchone() or ("", 0)
            block = io.BytesIO()
            present = {column.name for column in table.columns}
            items = tuple(item for item in wanted.items if item in present)
            query = row_query(table, items, wanted.key, wanted.only)
            cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv)", block)
    except psycopg2.Error as error:
        raise explain(error, url) from error
    finally:
        connection.close()
    return SourceRows(_parse(block), items, snapshot, lsn)


def snapshot_sql(server_version: int) -> str:
    """The statement that reads the snapshot (text) and the log's position (bigint).

    The snapshot is fixed when the statement starts; the position is read after it, so
    no change below the snapshot lies above the position. It is where the log is inserted, not
    where it is written: with synchronous_commit off a commit is seen before it is written.
    """
    snapshot = "pg_current_snapshot()" if server_version >= 130000 else "txid_current_snapshot()"
    # After a record that ends with its page the next place is past the page's header (24 or 40 bytes),
    # which an idle source writes with its next record only.
    return (
        f"SELECT {snapshot}::text, lsn - CASE WHEN lsn % page IN (24, 40) THEN lsn % page ELSE 0 END "
        "FROM (SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS lsn, "
        "current_setting('wal_block_size')::bigint AS page) AS log"
    )


def row_query(table: Table, items: Sequence[str], key: list[str], only: Mapping[str, list[str]]) -> str:
    """The SELECT of key and hash, of the rows the contract sends on.

    concat() writes values by their output functions, as pgoutput does.
    """
    bits = f"('x' || substr(md5({' || '.join(map(_part, items))}), 1, 16))::bit(64)::bigint"
    query = f"SELECT {_key(key)}, {bits} FROM {table.sql}"
    if not only:
        return query
    agreed = (
        f"{quoted(item)} IS NOT NULL AND concat({quoted(item)}) IN ({', '.join(map(_literal, values))})"
        for item, values in only.items()
    )
    return f"{query} WHERE {' AND '.join(agreed)}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _part(item: str) -> str:
    name = quoted(item)
    size = f"octet_length(convert_to(concat({name}), 'UTF8'))"
    return f"CASE WHEN {name} IS NULL THEN '-' ELSE concat({size}, ':', {name}) END"


def _key(key: list[str]) -> str:
    if not key:
        return "''"
    if len(key) == 1:
        return f"concat({quoted(key[0])})"
    # to_json escapes text as orjson does; the order is the contract's.
    return (
        "'[' || " + " || ',' || ".join(f"to_json(concat({quoted(item)}))::text" for item in key) + " || ']'"
    )


def _parse(block: io.BytesIO) -> pa.Table:
    names = ["key", "hash"]
    types = {"key": pa.utf8(), "hash": pa.int64()}
    if block.tell() == 0:
        return pa.table({name: pa.array([], kind) for name, kind in types.items()})
    block.seek(0)
    return csv.read_csv(
        block,
        read_options=csv.ReadOptions(column_names=names, use_threads=False, block_size=16 << 20),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=False),
    )


def written_hash(values: list[str | None]) -> int:
    """The same hash of one row in Python: what tests and repairs compare with."""
    text = "".join("-" if value is None else f"{len(value.encode())}:{value}" for value in values)
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:8], "big", signed=True)
