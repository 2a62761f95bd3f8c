"""PostgreSQL keeps the contract of connectors."""

from __future__ import annotations

import pytest

from tests.connectors.contract import ConnectorContract
from tests.connectors.databases import Database
from tests.connectors.station import Source


class TestPostgres(ConnectorContract):
    @pytest.fixture
    def source(self, database: Database) -> Source:
        return database
