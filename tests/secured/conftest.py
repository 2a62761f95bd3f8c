"""Servers that speak only to those they know, once for a whole test session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from broker import Broker
from certificates import Authority
from clickhouse import Server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom the servers do not know, and who did not sign for them."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Broker]:
    made = Broker(tmp_path_factory.mktemp("broker"), authority)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("clickhouse"), authority)
    yield made
    made.stop()
