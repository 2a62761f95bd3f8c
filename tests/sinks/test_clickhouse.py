"""What every sink asks of ClickHouse."""

from __future__ import annotations

import uuid

import pyarrow as pa

from datarail.settings import Settings
from sinks.clickhouse import ClickHouse, create_database, create_table, quoted


def test_a_repeat_is_known_by_its_token_alone(servers: Settings) -> None:
    """The same rows without a token are wanted again: the server may have logged, but not written them."""
    store = ClickHouse(servers.clickhouse)
    table = quoted("t" + uuid.uuid4().hex)
    create_database(store, "tests")
    create_table(store, f"tests.{table}", ["id UInt64"], "id")
    rows = pa.table({"id": pa.array([1, 2], pa.uint64())})
    for token, count in [("a", 2), ("a", 2), ("b", 4), (None, 6), (None, 8), ("a", 8)]:
        store.insert(f"tests.{table}", rows, token)
        assert store.rows(f"SELECT count() FROM tests.{table}") == [[count]], token
    store.command(f"DROP TABLE tests.{table}")
    store.close()
