"""What the DBAs of the sample city do once: databases, roles, tables, publications, contracts.

Two roles, as a careful DBA would have them. `city` owns databases and tables: the departments'
own applications, and here the generator. `datarail` is the line's: it may log in, replicate and
SELECT. CREATE PUBLICATION needs the tables' owner, and the owner could write; so the DBA makes
the two publications, under the names the line looks for, and gives it those alone: it can drop
them when it is detached, but can publish no other table. Slots it makes itself, as REPLICATION
allows.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg2
from psycopg2 import sql

from datarail.settings import Settings, embedded_ports
from examples.city.departments import DEPARTMENTS, Department
from examples.city.draw import DEFAULT_SEED
from examples.city.generate import seed as fill
from examples.city.session import Address, addresses, connect

#: Rows of the city that `make up` fills at its first start.
ROWS = 20_000
OWNER, CAPTURE = "city", "datarail"
#: Secrets below .datarail/secrets: the line's password, and the departments' own.
CAPTURE_SECRET, OWNER_SECRET = "city", "city_owner"

_HERE = Path(__file__).parent
Progress = Callable[[str], None]


def prepare(
    settings: Settings,
    superuser_url: str,
    *,
    rows: int = ROWS,
    seed: int = DEFAULT_SEED,
    progress: Progress = lambda line: None,
) -> list[Path]:
    """Make whatever of the city is missing; returns the files written into the working folder.

    superuser_url: any database of the server, password included. Databases that are there keep
    their rows, contracts and indicators.yaml that are there keep their text.
    """
    with closing(psycopg2.connect(superuser_url, connect_timeout=10)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            _role(cursor, OWNER, "LOGIN", _secret(settings, OWNER_SECRET))
            _role(cursor, CAPTURE, "LOGIN REPLICATION", _secret(settings, CAPTURE_SECRET))
            for department in DEPARTMENTS:
                _database(cursor, department.database)
    owner = addresses(_url(superuser_url, OWNER, _secret(settings, OWNER_SECRET)))
    if created := create_tables(owner):
        progress(f"tables of {', '.join(created)} made")
    if empty := tuple(department for department in DEPARTMENTS if _is_empty(owner, department)):
        filled = fill(rows, owner, seed=seed, departments=empty)
        rows_made, held = sum(filled.rows.values()), sum(filled.held.values())
        progress(f"{rows_made:,} rows of {len(filled.rows)} tables, {held} of them too bad to pass")
    superuser = addresses(superuser_url)
    for department in DEPARTMENTS:
        _open_to_line(superuser(department.database), department)
    parts = urlsplit(superuser_url)
    return write_contracts(settings, parts.hostname or "127.0.0.1", parts.port or 5432)


def application_url(settings: Settings) -> str:
    """The departments' own login on the embedded server, password and all: never print it."""
    port = embedded_ports(settings.folder)["postgres"]
    return _url(f"postgresql://127.0.0.1:{port}/postgres", OWNER, _secret(settings, OWNER_SECRET))


def create_tables(owner: Address) -> list[str]:
    """The tables of every department that has none; returns those departments' codes."""
    created = []
    for department in DEPARTMENTS:
        with connect(owner(department.database)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s)", (department.tables[0].name,))
            if cursor.fetchone()[0] is None:
                cursor.execute((_HERE / "schema" / f"{department.code}.sql").read_text(encoding="utf-8"))
                created.append(department.code)
    return created


def write_contracts(settings: Settings, host: str, port: int) -> list[Path]:
    """Contracts and indicators of the city, where the working folder has none of that name."""
    settings.stations.mkdir(parents=True, exist_ok=True)
    templates = {settings.stations / file.name: file for file in sorted((_HERE / "stations").glob("*.yaml"))}
    templates[settings.folder / "indicators.yaml"] = _HERE / "indicators.yaml"
    written = []
    for file, template in templates.items():
        if not file.exists():
            text = template.read_text(encoding="utf-8")
            file.write_text(text.replace("{host}", host).replace("{port}", str(port)), encoding="utf-8")
            written.append(file)
    return written


def publications(department: Department) -> dict[str, tuple[str, list[str]]]:
    """Publication → what it publishes, and of which tables.

    A table without a key must not publish its updates: PostgreSQL would refuse the department's
    own UPDATE and DELETE. So such tables have a publication of inserts alone.
    """
    name = f"datarail_{department.code}_{department.system}"
    keyed = [table.name for table in department.tables if table.key]
    keyless = [table.name for table in department.tables if not table.key]
    made = {name: ("insert, update, delete, truncate", keyed)}
    if keyless:
        made[f"{name}_inserts"] = ("insert", keyless)
    return made


def _role(cursor: Any, name: str, options: str, password: str) -> None:
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,))
    verb = "ALTER" if cursor.fetchone() else "CREATE"
    statement = sql.SQL("{} ROLE {} {} PASSWORD {}")
    cursor.execute(
        statement.format(sql.SQL(verb), sql.Identifier(name), sql.SQL(options), sql.Literal(password))
    )


def _database(cursor: Any, name: str) -> None:
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
    if not cursor.fetchone():
        cursor.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER))
        )


def _is_empty(owner: Address, department: Department) -> bool:
    with connect(owner(department.database)) as connection, connection.cursor() as cursor:
        # hj.t_ry_jbxx and its like are filled in one transaction with all others.
        cursor.execute(f"SELECT NOT EXISTS (SELECT FROM {department.tables[0].name})")
        return bool(cursor.fetchone()[0])


_UNREADABLE = """
SELECT count(*) FROM pg_class
WHERE relnamespace = %s::regnamespace AND relkind = 'r' AND NOT has_table_privilege(%s, oid, 'SELECT')
"""


def _open_to_line(url: str, department: Department) -> None:
    """What the line is allowed: reading, and the publications made for it."""
    with connect(url) as connection, connection.cursor() as cursor:
        # Each statement by itself: GRANT and then CREATE PUBLICATION in one transaction can meet a
        # vacuum of the freshly filled tables in a deadlock.
        connection.autocommit = True
        cursor.execute(f"GRANT CONNECT ON DATABASE {department.database} TO {CAPTURE}")
        cursor.execute(f"GRANT USAGE ON SCHEMA {department.schema} TO {CAPTURE}")
        cursor.execute(_UNREADABLE, (department.schema, CAPTURE))
        if cursor.fetchone()[0]:
            cursor.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {department.schema} TO {CAPTURE}")
        for name, (published, tables) in publications(department).items():
            cursor.execute("SELECT 1 FROM pg_publication WHERE pubname = %s", (name,))
            if not cursor.fetchone():
                cursor.execute(
                    f"CREATE PUBLICATION {name} FOR TABLE {', '.join(tables)} WITH (publish = '{published}')"
                )
            cursor.execute(f"ALTER PUBLICATION {name} OWNER TO {CAPTURE}")


def _url(base: str, user: str, password: str) -> str:
    parts = urlsplit(base)
    return f"postgresql://{user}:{quote(password, safe='')}@{parts.hostname}:{parts.port or 5432}/postgres"


def _secret(settings: Settings, name: str) -> str:
    file = settings.home / "secrets" / name
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(secrets.token_urlsafe(24))
    return file.read_text(encoding="utf-8").strip()
