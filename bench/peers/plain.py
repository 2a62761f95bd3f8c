"""The plainly built line measured: a drained backlog, commit → landed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from bench.backlog import Backlog
from bench.peers.plain_line import CLEAN, ITEMS, PUBLICATION, RAW, SLOT
from bench.rail import REPOSITORY, Rail
from bench.report import Report
from bench.say import say
from datarail.errors import Terminal
from sinks.clickhouse import ClickHouse


def measure(rail: Rail, backlog: Backlog, changes: int, report: Report) -> None:
    """Commit `changes` updates of one table, start the line, wait until they are in ClickHouse."""
    say("the plain line: one message a row")
    _prepare(rail)
    store = ClickHouse(rail.settings.clickhouse)
    running: list[subprocess.Popen[bytes]] = []
    try:
        clickhouse = rail.settings.clickhouse
        running += [
            _start(rail, "clean", "worker", "-l", "error", "--without-web"),
            _start(
                *(rail, "land", rail.settings.kafka, clickhouse.host, str(clickhouse.tcp_port)),
                rail.settings.redis,
            ),
        ]
        landed = _through(rail, backlog, store, 1000, 0)[1]  # until Faust has its partitions
        seconds, after = _through(rail, backlog, store, changes, landed)
        report.add("plain.landed", "rows/s", (after - landed) / seconds)
        say(f"  plain: {(after - landed) / seconds:,.0f} rows/s landed of {changes:,}")
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)
        store.close()


def _through(rail: Rail, backlog: Backlog, store: ClickHouse, changes: int, before: int) -> tuple[float, int]:
    """Seconds from the first row sent to the last one landed, and how many there are now."""
    with closing(rail.connect()) as connection:
        backlog.updates(connection, changes, 1000)
    reader = _start(rail, "capture", rail.source, rail.settings.kafka)
    try:
        began = rail.wait_slot("bool_or(active)", "taken up")
        known, still, last = before, time.monotonic(), began
        while time.monotonic() - still < 10 or known == before:
            count = int(store.rows("SELECT count() FROM plain")[0][0])
            if count > known:
                known, still, last = count, time.monotonic(), time.time()
            if time.time() - began > 120 + changes / 500:
                raise Terminal("the plain line does not come to its end", part="bench")
            time.sleep(0.1)
        return last - began, known
    finally:
        reader.terminate()
        reader.wait(30)
        rail.wait_slot("NOT bool_or(active)", "free")


def _prepare(rail: Rail) -> None:
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic

    with closing(rail.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE {rail.tables[0].name}")
        cursor.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (SLOT,))
    admin = KafkaAdminClient(bootstrap_servers=rail.settings.kafka)
    try:
        admin.create_topics([NewTopic(name, rail.settings.partitions, 1) for name in (RAW, CLEAN)])
    finally:
        admin.close()
    store = ClickHouse(rail.settings.clickhouse)
    columns = ", ".join(f"{item} Nullable(String)" for item in ITEMS)
    store.command(f"CREATE TABLE plain ({columns}) ENGINE = MergeTree ORDER BY tuple()")
    store.close()


def _start(rail: Rail, *words: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PLAIN_KAFKA": rail.settings.kafka, "PYTHONPATH": str(REPOSITORY)}
    log = Path(rail.folder) / f"plain-{words[0]}.log"
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "bench.peers.plain_line", *words],
            cwd=rail.folder,
            env=environment,
            stdout=stream,
            stderr=stream,
        )
