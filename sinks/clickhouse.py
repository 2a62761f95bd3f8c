"""The ClickHouse edge of all sinks: HTTP(S) with Arrow in and JSON or Arrow out, one connection kept.

Measured against clickhouse-driver (native protocol, columnar) in docs/sinks.md.
Protocol: https://clickhouse.com/docs/interfaces/http
"""

from __future__ import annotations

import http.client
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson
import pyarrow as pa

from datarail import tls
from datarail.errors import Terminal, Transient
from datarail.settings import ClickHouse as Address

#: Server errors that pass by themselves: timeouts, memory or parts or queries too many for now,
#: disk full, read-only while recovering, keeper away, shutting down.
_PASSING = {3, 107, 159, 160, 202, 203, 209, 210, 225, 236, 241, 242, 243, 252, 319, 394, 425, 999}
UNKNOWN_TABLE, UNKNOWN_DATABASE = 60, 81
#: User or password unknown, wrong or missing.
_WHO = (192, 193, 194, 516)

_TLS = (
    "check clickhouse: ca_file must hold who signed the server's certificate, which must name this host; "
    "http_port must be the port for HTTPS"
)
_USER = "check clickhouse.user and its password: DATARAIL_CLICKHOUSE_PASSWORD, or password_file"

_ALWAYS = {
    "wait_end_of_query": "1",  # an error must come as a status, not in the middle of the answer
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_decimals": "1",
    "output_format_json_quote_denormals": "1",
    "date_time_output_format": "iso",
}


class Refused(Terminal):
    """ClickHouse understood and said no. `code` is its own number for the reason."""

    def __init__(self, code: int, message: str) -> None:
        remedy = _USER if code in _WHO else "see the server's log for the query"
        super().__init__(message, part="clickhouse", remedy=remedy)
        self.code = code


class ClickHouse:
    """One connection, opened when first used, opened again when it broke. Not for two threads."""

    def __init__(self, address: Address, timeout: float = 120.0) -> None:
        self.address = address
        self.timeout = timeout
        self._connection: http.client.HTTPConnection | None = None

    def command(self, sql: str, settings: Mapping[str, object] | None = None, **values: object) -> None:
        """Run a statement without an answer. `values` fill {name:Type} in it."""
        self._send(sql, None, settings, values)

    def rows(self, sql: str, **values: object) -> list[list[Any]]:
        """The answer's rows; 64-bit integers are ints, decimals texts, times ISO texts in UTC."""
        body = self._send(sql + " FORMAT JSONCompactEachRow", None, None, values)
        return [orjson.loads(line) for line in body.splitlines()]

    def records(self, sql: str, **values: object) -> list[dict[str, Any]]:
        """The answer's rows by column name."""
        body = self._send(sql + " FORMAT JSONEachRow", None, None, values)
        return [orjson.loads(line) for line in body.splitlines()]

    def table(self, sql: str, **values: object) -> pa.Table:
        """The answer as an Arrow table; texts are utf8."""
        settings = {
            "output_format_arrow_string_as_string": 1,
            "output_format_arrow_low_cardinality_as_dictionary": 0,
        }
        body = self._send(sql + " FORMAT ArrowStream", None, settings, values)
        with pa.ipc.open_stream(body) as reader:
            return reader.read_all()

    def insert(self, table: str, rows: pa.Table, token: str | None = None) -> None:
        """Insert as one block; the same token again is ignored (rule 8), the same rows without one are
        not. `table` is quoted SQL."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            for batch in rows.combine_chunks().to_batches():
                writer.write_batch(batch)
        # Without a token the server goes by the rows: what a killed server had logged, but not written,
        # would be taken for written when it comes again.
        settings: dict[str, object] = {
            "max_partitions_per_insert_block": 0,
            "async_insert": 0,
            "insert_deduplication_token": token or uuid.uuid4().hex,
        }
        columns = ", ".join(quoted(name) for name in rows.schema.names)
        self._send(
            f"INSERT INTO {table} ({columns}) FORMAT ArrowStream", memoryview(sink.getvalue()), settings, {}
        )

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(
        self,
        sql: str,
        body: memoryview | None,
        settings: Mapping[str, object] | None,
        values: Mapping[str, object],
    ) -> bytes:
        query: dict[str, object] = {**_ALWAYS, **(settings or {})}
        query |= {f"param_{name}": escaped(value) for name, value in values.items()}
        headers = {"X-ClickHouse-User": self.address.user}
        if password := self.address.password.get_secret_value():
            headers["X-ClickHouse-Key"] = password
        if body is None:
            payload: bytes | memoryview = sql.encode()
        else:
            query["query"] = sql
            payload = body
        status, code, answer = self._exchange("/?" + urlencode(query), payload, headers)
        if status == 200 and code is None:
            return answer
        text = answer.decode(errors="replace").strip().splitlines()
        message = f"{text[0][:600] if text else f'HTTP {status}'} (in: {' '.join(sql.split())[:160]})"
        number = int(code) if code and code.isdigit() else 0
        if number in _PASSING or status in (502, 503, 504):
            raise Transient(message, part="clickhouse")
        raise Refused(number, message)

    def _exchange(
        self, path: str, payload: bytes | memoryview, headers: dict[str, str]
    ) -> tuple[int, str | None, bytes]:
        # A kept connection may have been closed by the server while idle: that is found out only
        # by using it, so one more try on a fresh one. Repeating is safe: inserts carry tokens.
        for last_try in (self._connection is None, True):
            try:
                if self._connection is None:
                    self._connection = self._opened()
                self._connection.request("POST", path, body=payload, headers=headers)
                response = self._connection.getresponse()
                return response.status, response.getheader("X-ClickHouse-Exception-Code"), response.read()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                where = f"ClickHouse at {self.address.url}"
                if why := tls.refusal(error):
                    raise Terminal(f"{where}: {why}", part="clickhouse", remedy=_TLS) from error
                if last_try or isinstance(error, TimeoutError):
                    raise Transient(f"{where} does not answer: {error!r}", part="clickhouse") from error
        raise AssertionError("unreachable")

    def _opened(self) -> http.client.HTTPConnection:
        there = self.address
        if (context := there.context()) is None:
            return http.client.HTTPConnection(there.host, there.http_port, timeout=self.timeout)
        return http.client.HTTPSConnection(there.host, there.http_port, timeout=self.timeout, context=context)


def quoted(name: str) -> str:
    """An identifier as SQL, whatever is in it."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def escaped(value: object) -> str:
    """A value for a {name:Type} parameter; lists become arrays."""
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(literal(item) if isinstance(item, str) else str(item) for item in value) + "]"
    # Parameters are read as TSV: its escapes apply.
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def create_database(store: ClickHouse, name: str) -> None:
    store.command(f"CREATE DATABASE IF NOT EXISTS {quoted(name)}")


#: A part below this is one file, not one for each of some forty columns: inserts of a few thousand
#: rows, and merges of what they leave, are then a fraction of the work.
COMPACT = f"min_bytes_for_wide_part = {256 << 20}"
#: Small parts wait until some 15 can be merged, not 5: what has been merged is written again with
#: every handful of new parts. Draining 32 resources 1.3 rows were merged for one inserted instead
#: of 5.1 (27 µs of the server a row instead of 51); a key's history is then looked up in 15 parts.
SELDOM_MERGED = "merge_selector_base = 16"


def create_table(
    store: ClickHouse,
    table: str,
    columns: Sequence[str],
    order: str,
    *,
    engine: str = "MergeTree",
    partition: str | None = None,
    ttl: str | None = None,
) -> None:
    """Create a table if missing, ready for exactly-once inserts by token. `columns` are SQL."""
    keeps_tokens = engine in ("MergeTree", "ReplacingMergeTree")
    window = ", non_replicated_deduplication_window = 1000" if keeps_tokens else ""
    store.command(
        f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)}) ENGINE = {engine} "
        + (f"PARTITION BY {partition} " if partition else "")
        + f"ORDER BY {order} "
        + (f"TTL {ttl} " if ttl else "")
        + f"SETTINGS allow_nullable_key = 0, index_granularity = 8192, {COMPACT}, {SELDOM_MERGED}{window}"
    )
