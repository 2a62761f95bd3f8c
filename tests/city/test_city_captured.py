"""The line captures the sample city with the rights its DBA gives, and leaves nothing behind."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import psycopg2
from kafka import KafkaConsumer, TopicPartition

from connectors import control, registry
from datarail.contract_file import read_contract
from datarail.settings import Settings
from datarail.topics import raw
from datarail.train import read_manifest
from deploy.embedded import postgres_setup
from examples.city import setup
from examples.city.departments import DEPARTMENTS, sizes
from examples.city.load import load
from examples.city.session import addresses

POLICE = DEPARTMENTS[0]
ROWS = 1000


def captured(settings: Settings, station: str) -> dict[str, int]:
    """Rows by resource, from the headers of the raw trains."""
    counts: dict[str, int] = {}
    with closing(KafkaConsumer(bootstrap_servers=settings.kafka, group_id=None)) as consumer:
        partitions = [TopicPartition(raw(station), number) for number in range(settings.partitions)]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(partitions)
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for records in consumer.poll(500).values():
                for record in records:
                    for car in read_manifest(record.headers).cars:
                        counts[car.resource] = counts.get(car.resource, 0) + car.counted
    return counts


def test_captured_with_least_rights(city: Settings, servers: Settings) -> None:
    contract = read_contract(city.stations / f"{POLICE.station}.yaml")
    # A station name, and so topics, of the test's own; slot and publications as the DBA made them.
    source = contract.source.model_copy(update={"slot": contract.name, "publication": contract.name})
    department = contract.department.model_copy(update={"code": "city_test"})
    contract = contract.model_copy(update={"source": source, "department": department})
    expected = {table.resource: sizes(ROWS)[table.resource] for table in POLICE.tables}
    stop, failures = threading.Event(), []

    def run() -> None:
        try:
            registry.KINDS["postgres"].run(city, contract, stop)
        except BaseException as error:
            failures.append(error)

    capturing = threading.Thread(target=run)
    capturing.start()
    try:
        wait_for(city, contract.station, expected, failures)
        owner = addresses(setup.application_url(city))
        loaded = load(300, owner, seconds=2, departments=(POLICE,))
        for resource, changes in loaded.resources.items():
            expected[resource] += changes
        # A changed key is a delete and a create: one change more than the department made.
        wait_for(city, contract.station, expected, failures, exact=False)
    finally:
        stop.set()
        capturing.join(30)
    assert not failures
    control.detach(city, contract)
    superuser = addresses(postgres_setup.dsn(servers))
    with closing(psycopg2.connect(superuser(POLICE.database))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pubname FROM pg_publication")
        assert cursor.fetchall() == []
        cursor.execute("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")
        assert cursor.fetchall() == []


def wait_for(
    settings: Settings,
    station: str,
    expected: dict[str, int],
    failures: list[BaseException],
    exact: bool = True,
) -> None:
    deadline, found = time.monotonic() + 60, {}
    while time.monotonic() < deadline and not failures:
        found = captured(settings, station)
        if found == expected or (not exact and all(found[name] >= rows for name, rows in expected.items())):
            return
        time.sleep(0.5)
    raise AssertionError((failures, found, expected))
