"""Many like tables for measuring: 1 … 94 resources, filled and changed inside PostgreSQL.

Rows come from INSERT … SELECT generate_series with check digits computed in SQL, so millions
cost no Python. Three shapes of 13 columns each take turns: residents, firms, events. Every
second table tells of the same people or firms as the one before it, so golden records merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from examples.city.numbers import CODES, CREDIT_ALPHABET
from examples.city.session import connect
from examples.city.wide_rows import SOURCES, Shape

SHAPES: tuple[Shape, ...] = ("resident", "firm", "event")
#: Shaoxing's line had 32 resources, Ningbo's 94.
LARGEST = 94
#: One row in so many has a wrong check digit or lacks what is required: it will be held.
BAD_EVERY = 100
#: People or firms of one table; more rows than this and their numbers meet the next table's.
_SPAN = 4_000_000

_TEMPLATES = yaml.safe_load((Path(__file__).parent / "wide.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class WideTable:
    """Table number `number`, counted from 0."""

    number: int
    shape: Shape

    @property
    def name(self) -> str:
        return f"w{self.number + 1:02d}_{self.shape}"

    @property
    def key(self) -> str:
        return str(_TEMPLATES[self.shape]["key"])

    @property
    def first_subject(self) -> int:
        """Where its people or firms begin: tables of one shape go in pairs."""
        return self.number // (2 * len(SHAPES)) * _SPAN


def tables(n: int, shapes: Sequence[Shape] = SHAPES) -> list[WideTable]:
    """n tables, the shapes in turn. Raises ValueError outside 1 … 94."""
    if not 1 <= n <= LARGEST:
        raise ValueError(f"{n} resources: 1 to {LARGEST} can be made")
    return [WideTable(number, shapes[number % len(shapes)]) for number in range(n)]


def make_resources(url: str, n: int, rows: int, *, shapes: Sequence[Shape] = SHAPES) -> list[WideTable]:
    """Create n tables anew in the database of `url`, each with `rows` rows; returns them.

    The user must be able to create tables. Tables of these names are dropped first.
    """
    made = tables(n, shapes)
    with connect(url) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for table in made:
            cursor.execute(f"DROP TABLE IF EXISTS {table.name}")
            cursor.execute(f"CREATE TABLE {table.name} ({', '.join(_TEMPLATES[table.shape]['columns'])})")
            if rows:
                cursor.execute(insert_sql(table, 0, rows))
            cursor.execute(f"ANALYZE {table.name}")
    return made


def insert_sql(table: WideTable, first: int, count: int) -> str:
    """The statement that adds rows number first … first + count - 1."""
    source = SOURCES[table.shape].format(
        first=first,
        last=first + count - 1,
        subject=table.first_subject,
        divisions=",".join(str(code) for code in CODES),
        alphabet=CREDIT_ALPHABET.decode(),
        bad=BAD_EVERY,
    )
    return f"INSERT INTO {table.name} {source}"


def update_sql(table: WideTable, first: int, count: int, version: int) -> str:
    """The statement that updates these rows, one row each; another version, other values."""
    changes = str(_TEMPLATES[table.shape]["update"]).format(version=int(version))
    return f"UPDATE {table.name} SET {changes} WHERE {_range(table, first, count)}"


def delete_sql(table: WideTable, first: int, count: int) -> str:
    """The statement that deletes these rows."""
    return f"DELETE FROM {table.name} WHERE {_range(table, first, count)}"


def contract_text(
    url: str,
    made: Sequence[WideTable],
    *,
    department: str = "bench",
    system: str = "wide",
    password_file: str | None = None,
) -> str:
    """The station's contract for these tables. A password in `url` is left out."""
    parts = urlsplit(url)
    at = f"{parts.username}@" if parts.username else ""
    source: dict[str, object] = {
        "kind": "postgres",
        "url": f"postgresql://{at}{parts.hostname}:{parts.port or 5432}{parts.path}",
    }
    if password_file:
        source["password"] = {"file": password_file}
    contract = {
        "department": {"code": department, "title": "测速"},
        "system": {"code": system, "title": "测速"},
        "source": source,
        "resources": {
            table.name: {
                "table": f"public.{table.name}",
                "title": _TEMPLATES[table.shape]["title"],
                "key": table.key,
                "items": _TEMPLATES[table.shape]["items"],
                "feeds": _TEMPLATES[table.shape]["feeds"],
            }
            for table in made
        },
    }
    return str(yaml.dump(contract, allow_unicode=True, sort_keys=False, Dumper=_Plain))


class _Plain(yaml.SafeDumper):
    """Writes every table in full: a reader of the contract should not have to follow aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _range(table: WideTable, first: int, count: int) -> str:
    last = first + count - 1
    if table.shape == "event":
        return f"{table.key} BETWEEN {first} AND {last}"
    letter = "R" if table.shape == "resident" else "F"
    return f"{table.key} BETWEEN '{letter}{first:010d}' AND '{letter}{last:010d}'"
