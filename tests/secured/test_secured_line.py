"""A whole line on servers that ask for it all: Kafka over SASL_SSL, ClickHouse over HTTPS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from broker import PASSWORD, USER, Broker
from certificates import Authority
from clickhouse import PASSWORD as STORE_PASSWORD
from clickhouse import Server
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from datarail.kafka_access import KafkaAccess, KafkaSecurity
from datarail.settings import Settings
from deploy import line
from deploy.embedded import ports
from tests.connectors.databases import Database

pytestmark = [pytest.mark.whole_line, pytest.mark.timeout(300)]

REPOSITORY = Path(__file__).parents[2]
STATION = "secured.line"
#: The line's own user of the broker, and its passwords in turn.
RAIL, FIRST, SECOND = "rail", "first 'secret' \"50%\"", "second secret; # 半"


class Rail:
    """A working folder of the session's PostgreSQL and Redis, and of secured Kafka and ClickHouse."""

    def __init__(
        self, folder: Path, servers: Settings, source: Database, broker: Broker, store: Server, ca: Path
    ) -> None:
        self.folder = folder
        self.home = folder / ".datarail"
        self.source = source
        self._admin = AdminClient(
            KafkaAccess(
                broker.scram,
                KafkaSecurity(protocol="SASL_SSL", user=USER, password=SecretStr(PASSWORD), ca_file=ca),
            ).librdkafka()
            | {"log_level": 0}
        )
        path = filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])
        self._environment = {"DATARAIL_FOLDER": str(folder), "PYTHONPATH": os.pathsep.join(path)}
        (folder / "stations").mkdir()
        (folder / "authority.pem").write_bytes(ca.read_bytes())
        secured = {"host": store.secured.host, "tcp_port": store.secured.tcp_port}
        document = {
            "embedded": False,
            "kafka": broker.scram,
            "kafka_security": {"protocol": "SASL_SSL", "user": RAIL, "ca_file": "authority.pem"},
            "clickhouse": secured
            | {
                "http_port": store.secured.http_port,
                "user": store.secured.user,
                "https": True,
                "ca_file": "authority.pem",
            },
            "redis": servers.redis,
        }
        (folder / "datarail.yaml").write_text(yaml.safe_dump(document))
        department, _, system = STATION.partition(".")
        contract = {
            "department": {"code": department},
            "system": {"code": system},
            "source": source.source_entry(folder),
            "resources": {
                "person": {
                    "table": "person",
                    "key": "id",
                    "items": {"id": {"type": "integer"}, "name": {"checks": ["required"]}},
                }
            },
        }
        (folder / "stations" / f"{STATION}.yaml").write_text(yaml.safe_dump(contract))

    def user(self, password: str) -> None:
        """Give the line's user this password at the broker."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        wanted = UserScramCredentialUpsertion(RAIL, info, password.encode())
        for done in self._admin.alter_user_scram_credentials([wanted]).values():
            done.result(20)

    def run(self, *words: str, password: str = "") -> subprocess.CompletedProcess[str]:
        """A command. password: Kafka's, set in its environment together with ClickHouse's."""
        secrets = {"DATARAIL_KAFKA_PASSWORD": password, "DATARAIL_CLICKHOUSE_PASSWORD": STORE_PASSWORD}
        return subprocess.run(
            [sys.executable, "-c", "from datarail.cli import app; app()", *words],
            cwd=self.folder,
            env={**os.environ, **(secrets if password else {}), **self._environment},
            text=True,
            capture_output=True,
            timeout=120,
        )

    def json(self, *words: str, password: str = "") -> Any:
        done = self.run(*words, "--json", password=password)
        assert done.returncode == 0, f"datarail {' '.join(words)}: {done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def pids(self) -> dict[str, int]:
        return {part.name: part.pid for part in line.parts(Settings.load(self.folder))}


@pytest.fixture
def rail(
    tmp_path: Path, servers: Settings, broker: Broker, store: Server, authority: Authority
) -> Iterator[Rail]:
    source = Database(servers)
    source.transaction(
        [
            "CREATE TABLE person (id bigint PRIMARY KEY, name text)",
            "INSERT INTO person SELECT n, '张' || n FROM generate_series(1, 200) n",
            "INSERT INTO person VALUES (201, NULL)",
        ]
    )
    ports.apart(Settings.load(tmp_path))
    made = Rail(tmp_path, servers, source, broker, store, authority.file)
    yield made
    if (made.home / "supervisord.conf").exists():
        line.clean(Settings.load(tmp_path))
    source.drop()


def test_all_of_it_flows_and_balances(rail: Rail) -> None:
    rail.user(FIRST)
    wrong = rail.run("up", password="wrong")
    assert wrong.returncode == 1 and not (rail.home / "supervisord.conf").exists()
    assert "refuses: user rail" in wrong.stderr and "DATARAIL_KAFKA_PASSWORD" in wrong.stderr

    assert rail.json("up", password=FIRST)["flowing"]
    rail.source.transaction(
        ["UPDATE person SET name = '王' WHERE id <= 10", "DELETE FROM person WHERE id = 200"]
    )
    told = rail.run("subscribe", "clean.secured.person", "--limit", "211", "--idle", "30", "--json")
    assert told.returncode == 0, told.stderr
    ops = [json.loads(each)["value"]["op"] for each in told.stdout.splitlines()]
    assert sorted(ops) == sorted(["r"] * 200 + ["u"] * 10 + ["d"])
    check_nothing_is_told(rail)

    # Another password, and `up` again: every part goes on with it, though the supervisor has the first.
    before = rail.pids()
    rail.user(SECOND)
    assert rail.json("up", password=SECOND)["flowing"]
    after = rail.pids()
    assert set(after) == set(before) and not set(after.values()) & set(before.values())
    rail.source.transaction(["INSERT INTO person VALUES (202, '李')"])
    # As from another shell, in which nobody has set a password. Row 201 has no name and is held.
    document = rail.json("audit")
    (row,) = document["resources"]
    assert document["balanced"] and (row["missing"], row["extra"], row["differing"]) == (0, 0, 0)
    assert (row["captured"], row["landed"], row["quarantined"]) == (213, 212, 1)
    check_nothing_is_told(rail)


def check_nothing_is_told(rail: Rail) -> None:
    """No secret in the supervisor's configuration or environment, on a command line, or in a log."""
    home = rail.home
    files = [home / "supervisord.conf", *(home / "logs").iterdir()]
    supervisor = Path("/proc") / (home / "run" / "supervisord.pid").read_text().strip()
    files += [supervisor / "environ", *(Path(f"/proc/{pid}/cmdline") for pid in rail.pids().values())]
    for file in files:
        said = file.read_bytes()
        for secret in (FIRST, SECOND, STORE_PASSWORD):
            assert secret.encode() not in said, file
    assert (home / "secrets" / "environment.json").stat().st_mode & 0o077 == 0
