"""The database that most tests of connectors begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from datarail.settings import Settings
from deploy.embedded.postgres_setup import dsn
from tests.connectors.databases import Database


@pytest.fixture
def address(servers: Settings) -> Callable[[str], str]:
    """Of a database by its name; a module may name another server's."""
    return partial(dsn, servers)


@pytest.fixture
def database(servers: Settings, address: Callable[[str], str]) -> Iterator[Database]:
    """With the table of tests.connectors.station."""
    database = Database(servers, address)
    database.transaction(["CREATE TABLE ledger (id integer PRIMARY KEY, n integer, note text)"])
    yield database
    database.drop()
