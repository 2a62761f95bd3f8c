"""SQL in, trains out: tests/connectors/golden/*.sql beside the JSON that must come of it.

The contract is the one `attach` would draft. In the JSON, `tx` numbers the transactions in order;
a snapshot's rows have none. Set DATARAIL_GOLDEN=write to write the JSON anew, then read the diff.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from connectors.registry import KINDS
from datarail.position import SNAPSHOT_INDEX, Lane
from datarail.settings import Settings
from tests.connectors.databases import Database
from tests.connectors.raw import Row, check_identities, read_rows
from tests.connectors.running import Connector, eventually

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", sorted(file.stem for file in GOLDEN.glob("*.sql")))
def test_golden(name: str, servers: Settings, tmp_path: Path) -> None:
    found = played(name, Database(servers), servers, tmp_path)
    file = GOLDEN / f"{name}.json"
    if os.environ.get("DATARAIL_GOLDEN") == "write":
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in found)
        file.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    assert found == json.loads(file.read_text(encoding="utf-8"))


def played(name: str, database: Database, servers: Settings, tmp_path: Path) -> list[dict[str, object]]:
    """What comes of golden/{name}.sql in this database, which is dropped."""
    before, _, after = (GOLDEN / f"{name}.sql").read_text(encoding="utf-8").partition("-- stream\n")
    system = f"{name}_{database.name}"  # the topics of another server's are not for this one
    station = f"golden.{system}"
    connector = Connector(servers, tmp_path, station)
    try:
        database.transaction([before])
        (tmp_path / "stations").mkdir()
        entry = database.source_entry(tmp_path)
        text = KINDS["postgres"].draft(
            str(entry["url"]), database.password, "golden", system, {"file": "password"}
        )
        (tmp_path / "stations" / f"{station}.yaml").write_text(text, encoding="utf-8")
        connector.start()
        eventually(lambda: "streaming" in connector.said(), "it streams", of=connector)
        for transaction in transactions(after):
            database.transaction([transaction])
        eventually(lambda: confirmed(database), "the source is acknowledged", of=connector)
        rows = read_rows(servers, station)
    finally:
        connector.kill()
        database.drop()
    check_identities(rows)
    return [shown(row, rows) for row in sorted(rows, key=place) if counted(row)]


def transactions(script: str) -> list[str]:
    """Statements one by one, those between BEGIN and COMMIT together."""
    found = re.findall(r"BEGIN;\n(.*?)COMMIT;\n|(.*?;)\n", script, flags=re.DOTALL)
    return [together or single for together, single in found]


def confirmed(database: Database) -> bool:
    """Whether everything committed up to now was acknowledged."""
    return bool(
        database.query(
            "SELECT 1 FROM pg_replication_slots WHERE database = current_database() "
            "AND confirmed_flush_lsn >= (SELECT pg_current_wal_insert_lsn())"
        )
    )


def place(row: Row) -> tuple[bool, object]:
    return row.lane == Lane.STREAM, row.identity


def counted(row: Row) -> bool:
    return row.op != "t" or row.partition == 0


def shown(row: Row, rows: list[Row]) -> dict[str, object]:
    positions = sorted({each.identity.position for each in rows if each.lane == Lane.STREAM})
    bits = int.from_bytes(row.unchanged or b"", "little")
    head: dict[str, object] = {"resource": row.resource, "op": row.op}
    if row.lane == Lane.STREAM:
        head |= {
            "tx": positions.index(row.identity.position),
            "index": row.identity.index,
            "part": row.identity.part,
        }
    else:
        head |= {"snapshot": row.identity.index - SNAPSHOT_INDEX}
    if bits:
        head["unchanged"] = [item for number, item in enumerate(row.values) if bits >> number & 1]
    return head | {"row": {item: short(value) for item, value in row.values.items()}}


def short(text: str | None) -> str | None:
    return f"{text[:3]}… {len(text)} characters" if text is not None and len(text) > 200 else text
