"""PostgreSQL keeps the contract of connectors."""

from __future__ import annotations

import pytest

from tests.connectors.contract import ConnectorContract, Source
from tests.connectors.databases import Database


class TestPostgres(ConnectorContract):
    @pytest.fixture
    def source(self, database: Database) -> Source:
        return database
