"""The sample city on the session's PostgreSQL, anew for each module that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from datarail.settings import Settings
from deploy.embedded import postgres_setup
from examples.city import setup
from examples.city.departments import DEPARTMENTS


@pytest.fixture(scope="module")
def city(
    request: pytest.FixtureRequest, servers: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """The city on the session's server, with secrets and contracts in a folder of its own."""
    settings = servers.model_copy(update={"folder": tmp_path_factory.mktemp("city")})
    (settings.home).mkdir()
    noted = servers.home / "ports.json"
    (settings.home / "ports.json").write_text(noted.read_text() if noted.exists() else "{}")
    setup.prepare(settings, postgres_setup.dsn(servers), rows=getattr(request.module, "ROWS", 1000))
    yield settings
    with closing(psycopg2.connect(postgres_setup.dsn(servers))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for department in DEPARTMENTS:
                cursor.execute(f"DROP DATABASE {department.database} WITH (FORCE)")
            for role in (setup.OWNER, setup.CAPTURE):
                cursor.execute(f"DROP ROLE {role}")
