"""PostgreSQL keeps the contract of connectors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from datarail.settings import Settings
from tests.connectors.contract import ConnectorContract, Source
from tests.connectors.databases import Database


class TestPostgres(ConnectorContract):
    @pytest.fixture
    def source(self, servers: Settings) -> Iterator[Source]:
        database = Database(servers)
        database.transaction(["CREATE TABLE ledger (id integer PRIMARY KEY, n integer, note text)"])
        yield database
        database.drop()
