"""PostgreSQL as the registry knows it."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import psycopg2

from connectors.port import SourceRows, Verdict
from connectors.postgres import audit, draft, probe, progress, setup, station
from connectors.postgres.session import connect, explain
from datarail.contract import Contract
from datarail.contract_file import expand, read_secret
from datarail.settings import Settings


class Postgres:
    name: str = "postgres"
    schemes: tuple[str, ...] = ("postgresql", "postgres")

    def run(self, settings: Settings, contract: Contract, stop: threading.Event) -> None:
        station.run(settings, contract, stop)

    def probe(self, url: str, password: str | None) -> Verdict:
        return probe.probe(url, password)

    def draft(
        self,
        url: str,
        password: str | None,
        department: str,
        system: str,
        secret: Mapping[str, str] | None = None,
    ) -> str:
        return draft.draft(url, password, department, system, secret)

    def detach(self, settings: Settings, contract: Contract) -> list[str]:
        url, password = _access(settings, contract)
        connection = connect(url, password, name=f"datarail detach {contract.station}")
        try:
            if not contract.source.managed:
                # What the DBA made is the DBA's to drop.
                return []
            return setup.drop(connection, setup.Names.of(contract))
        except psycopg2.Error as error:
            raise explain(error, url) from error
        finally:
            connection.close()

    def read_rows(self, settings: Settings, contract: Contract, resource: str) -> SourceRows:
        return audit.read_rows(contract, resource, *_access(settings, contract))

    def wait_captured(self, settings: Settings, contract: Contract, lsn: int, seconds: float) -> bool:
        url, password = _access(settings, contract)
        return progress.wait_captured(contract, url, password, lsn, seconds)


def _access(settings: Settings, contract: Contract) -> tuple[str, str | None]:
    return expand(contract.source.url), read_secret(contract.source.password, settings.folder)
