"""A newcomer's own department: attached, changed under way, in trouble, detached."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from kafka import KafkaProducer

from datarail import topics
from datarail.errors import RailError
from deploy import line
from deploy.embedded.postgres_setup import dsn
from tests.line.conftest import City

pytestmark = [pytest.mark.whole_line, pytest.mark.timeout(600)]

STATION = "civil.marriage"
SCHEMA = """
CREATE TYPE civil_state AS ENUM ('单身', '已婚');
CREATE TYPE span AS (since date, until date);
CREATE TABLE wedding (id bigint PRIMARY KEY, "姓名" text, "SFZH" varchar(18), state civil_state,
  odd span, fee numeric(10,2), at timestamptz, note text);
CREATE TABLE visits (who text, at timestamp DEFAULT now());
INSERT INTO wedding SELECT n, '张' || n, NULL, '已婚', '(2020-01-01,)'::span, n / 100.0, now(), ''
  FROM generate_series(1, 500) n;
INSERT INTO visits SELECT 'v' || n FROM generate_series(1, 50) n;
"""


class Department:
    def __init__(self, city: City) -> None:
        self.city = city
        self.url = dsn(city.settings, "civil")

    def sql(self, text: str) -> Any:
        with closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else None

    def rows(self) -> dict[str, dict[str, Any]]:
        status = self.city.json("status")
        return {row["resource"]: row for row in status["resources"] if row["station"] == STATION}

    def wait(self, resource: str, captured: int, seconds: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            row = self.rows().get(resource, {})
            if row.get("captured", 0) >= captured and row["lag_rows"] == 0:
                return row
            assert time.monotonic() < deadline, f"{resource}: {row}"
            time.sleep(0.5)


def until(holds: Callable[[], bool], city: City, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, city.json("status")
        time.sleep(0.5)


@pytest.fixture(scope="module")
def civil(city: City) -> Iterator[Department]:
    with closing(psycopg2.connect(dsn(city.settings, "postgres"))) as admin:
        admin.autocommit = True
        admin.cursor().execute("CREATE DATABASE civil")
    department = Department(city)
    department.sql(SCHEMA)
    yield department


def test_attach_drafts_a_contract_and_up_starts_it(city: City, civil: Department) -> None:
    done = city.run("attach", civil.url, "--department", "civil", "--system", "marriage")
    assert done.returncode == 0, done.stdout + done.stderr
    text = (city.settings.stations / f"{STATION}.yaml").read_text(encoding="utf-8")
    password = re.search(r"://[^:]+:([^@]+)@", civil.url)
    assert password and password[1] not in text + done.stdout + done.stderr
    assert city.json("check")["good"]
    assert city.run("up").returncode == 0
    assert civil.wait("wedding", 500)["landed"] == 500
    assert civil.wait("visits", 50)["landed"] == 50


def test_changes_flow_and_the_department_may_still_write(city: City, civil: Department) -> None:
    civil.sql("UPDATE wedding SET fee = 9.5 WHERE id <= 10; DELETE FROM wedding WHERE id = 500")
    civil.sql("UPDATE wedding SET id = 1000 WHERE id = 499")  # a key change: delete and create
    civil.sql("DELETE FROM visits WHERE who = 'v1'; UPDATE visits SET who = 'x' WHERE who = 'v2'")
    civil.sql("INSERT INTO visits VALUES ('late')")
    assert civil.wait("wedding", 513)["captured"] == 513
    assert civil.wait("visits", 51)["captured"] == 51
    found = city.json("history", f"{STATION}.wedding", "1")["changes"]
    assert [change["op"] for change in found] == ["r", "u"]
    assert found[-1]["written"]["fee"] == "9.50"
    assert found[-1]["written"]["姓名"] == "张1"
    assert found[-1]["written"]["odd"] == "(2020-01-01,)"


def test_a_column_dropped_and_one_added_under_way(city: City, civil: Department) -> None:
    before = civil.rows()["wedding"]["captured"]
    civil.sql("ALTER TABLE wedding DROP COLUMN note; ALTER TABLE wedding ADD COLUMN place text")
    civil.sql("INSERT INTO wedding (id, place) VALUES (2000, '绍兴')")
    assert civil.wait("wedding", before + 1)["landed"] == before + 1
    found = city.json("history", f"{STATION}.wedding", "2000")["changes"]
    assert found[0]["written"]["place"] == "绍兴"


def test_a_corrupt_train_goes_to_quarantine_and_the_line_goes_on(city: City, civil: Department) -> None:
    producer = KafkaProducer(bootstrap_servers=city.settings.kafka)
    producer.send(topics.raw(STATION), b"no train at all", partition=0).get(timeout=30)
    producer.close()
    before = civil.rows()["wedding"]["captured"]
    civil.sql("INSERT INTO wedding (id) SELECT n FROM generate_series(3000, 3019) n")
    assert civil.wait("wedding", before + 20)["captured"] == before + 20
    deadline = time.monotonic() + 30
    while True:
        held = [c for c in city.json("quarantine", "--limit", "500")["changes"] if c["station"] == STATION]
        if any(change["error"] for change in held):
            break
        assert time.monotonic() < deadline, held
        time.sleep(1)


def test_kafka_away_for_a_minute(city: City, civil: Department) -> None:
    before = civil.rows()["wedding"]["captured"]
    line.stop_part(city.settings, "kafka")
    civil.sql("INSERT INTO wedding (id) SELECT n FROM generate_series(4000, 4099) n")
    time.sleep(60)
    line.start_part(city.settings, "kafka")
    assert civil.wait("wedding", before + 100, seconds=120)["captured"] == before + 100


def test_pause_and_resume(city: City, civil: Department) -> None:
    before = civil.rows()["wedding"]["captured"]
    city.json("pause", STATION)
    civil.sql("INSERT INTO wedding (id) VALUES (5000)")
    time.sleep(3)
    row = civil.rows()["wedding"]
    assert (row["state"], row["captured"]) == ("paused", before)
    city.json("resume", STATION)
    assert civil.wait("wedding", before + 1)["captured"] == before + 1


def test_all_of_it_balances(city: City, civil: Department) -> None:
    document = city.audit(120)
    assert document["balanced"], json.dumps(document, indent=1, ensure_ascii=False)
    rows = {row["resource"]: row for row in document["resources"] if row["station"] == STATION}
    assert rows["wedding"]["captured"] == rows["wedding"]["landed"] > 600
    assert (rows["visits"]["missing"], rows["visits"]["unfollowed"]) == (0, 2)  # v1 removed, v2 changed


def test_a_difference_is_named(city: City, civil: Department) -> None:
    """The audit must not be one that always says yes."""
    from tests.line.reference import clickhouse

    client = clickhouse(city.settings)
    client.execute(
        f"ALTER TABLE history.`{STATION}.wedding` DELETE WHERE _key = '7' SETTINGS mutations_sync = 2"
    )
    document = city.audit(60)
    row = next(r for r in document["resources"] if (r["station"], r["resource"]) == (STATION, "wedding"))
    assert not document["balanced"] and not row["balanced"]
    assert row["missing"] == 1
    assert "7" in json.dumps(row)


def test_after_a_lost_slot_every_table_is_read_again(city: City, civil: Department) -> None:
    """What was missing above is there again too."""
    connector = f"connector-{STATION}"
    line.stop_part(city.settings, connector)
    civil.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = 'civil'")
    civil.sql("DELETE FROM wedding WHERE id = 8; UPDATE wedding SET fee = 77 WHERE id = 9")
    with contextlib.suppress(RailError):  # it ends at once
        line.start_part(city.settings, connector)
    until(lambda: any("resume STATION --resnapshot" in note for note in city.json("status")["notes"]), city)
    before = civil.rows()["wedding"]["captured"]
    city.json("resume", STATION, "--resnapshot")
    civil.wait("wedding", before + 500)
    document = city.audit(120)
    assert document["balanced"], json.dumps(document, indent=1, ensure_ascii=False)
    assert [change["op"] for change in city.json("history", f"{STATION}.wedding", "8")["changes"]][-1] == "t"
    assert city.json("history", f"{STATION}.wedding", "9")["changes"][-1]["written"]["fee"] == "77.00"


def test_a_resource_that_cannot_be_read_is_told(city: City, civil: Department) -> None:
    civil.sql("ALTER TABLE visits RENAME TO calls")
    line.restart(city.settings, f"connector-{STATION}")
    until(lambda: civil.rows()["visits"]["state"] == "broken", city)
    (note,) = (note for note in city.json("status")["notes"] if "visits is broken" in note)
    assert "the table public.visits does not exist" in note
    before = civil.rows()["wedding"]["captured"]
    civil.sql("INSERT INTO wedding (id) VALUES (6000)")
    civil.wait("wedding", before + 1)  # the other goes on
    civil.sql("ALTER TABLE calls RENAME TO visits")
    line.restart(city.settings, f"connector-{STATION}")
    until(lambda: civil.rows()["visits"]["state"] not in ("broken", "down"), city)


def test_a_wrong_password_is_told(city: City, civil: Department) -> None:
    wrong = re.sub(r"://([^:]+):[^@]+@", r"://\1:wrong@", civil.url)
    done = city.run("attach", wrong, "--department", "civil", "--system", "other")
    assert done.returncode == 1
    assert "password" in (done.stdout + done.stderr)
    assert "wrong@" not in done.stdout + done.stderr
    assert not (city.settings.stations / "civil.other.yaml").exists()


def test_detach_leaves_no_slot(city: City, civil: Department) -> None:
    assert civil.sql("SELECT count(*) FROM pg_replication_slots WHERE database = 'civil'")[0][0] == 1
    city.json("detach", STATION)
    assert civil.sql("SELECT count(*) FROM pg_replication_slots WHERE database = 'civil'")[0][0] == 0
    assert civil.sql("SELECT count(*) FROM pg_publication")[0][0] == 0
    assert f"connector-{STATION}" not in {part.name for part in line.parts(city.settings)}
