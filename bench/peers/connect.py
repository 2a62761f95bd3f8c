"""Debezium's PostgreSQL connector in a standalone Kafka Connect worker: configuration and process."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import unquote, urlsplit

from bench.say import say
from datarail.errors import Terminal
from datarail.settings import Settings
from deploy.embedded.install import install, install_jars
from deploy.embedded.ports import any_free

LOCK = Path(__file__).with_name("debezium.lock")
NAME, PREFIX = "bench", "dbz"


@dataclass(frozen=True)
class Tuning:
    """What differs between Debezium's settings: connector, producer, Java."""

    connector: Mapping[str, str]
    producer: Mapping[str, str]
    java: tuple[str, ...] = ()


_FAST: dict[str, str] = {
    "max.batch.size": "8192",
    "max.queue.size": "32768",
    "snapshot.fetch.size": "10240",
    "poll.interval.ms": "50",
}
_BATCHES = {"linger.ms": "5", "batch.size": "262144", "compression.type": "lz4"}

#: As it comes; the most rows a second; the least time to Kafka.
TUNINGS: dict[str, Tuning] = {
    "defaults": Tuning({}, {}),
    "throughput": Tuning(_FAST, _BATCHES, ("-Xms4g", "-Xmx4g", "-XX:+UseParallelGC")),
    "quick": Tuning({**_FAST, "poll.interval.ms": "1"}, {"linger.ms": "0", "compression.type": "lz4"}),
}


class Worker:
    """One Connect worker with one Debezium connector over one table; use as a context manager."""

    def __init__(self, settings: Settings, source: str, table: str, tuning: Tuning) -> None:
        self._jars = install_jars(settings, LOCK, "debezium", say)
        self._java = install(settings, say).java
        self._folder = settings.home / "connect"
        self._settings = settings
        self._tuning = tuning
        self._source = urlsplit(source)
        self._table = table
        self._rest = f"http://127.0.0.1:{any_free()}"
        self.process: subprocess.Popen[bytes] | None = None
        self.topic = f"{PREFIX}.public.{table}"

    def __enter__(self) -> Worker:
        self._folder.mkdir(exist_ok=True)
        worker = self._folder / "worker.properties"
        worker.write_text("".join(f"{name}={value}\n" for name, value in self._worker().items()))
        connector = self._folder / "connector.json"
        connector.write_text(json.dumps({"name": NAME, "config": self._connector()}))
        connector.chmod(0o600)
        command = [str(self._java), *(self._tuning.java or ("-Xms256m", "-Xmx2g"))]
        command += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{self._jars}/*"]
        command += ["org.apache.kafka.connect.cli.ConnectStandalone", str(worker), str(connector)]
        with (self._folder / "connect.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def stop(self) -> None:
        """End the connector's task and leave Java warm."""
        self._put("stop")

    def resume(self) -> None:
        self._put("resume")

    def check(self) -> None:
        """Raises Terminal when the worker or its task has failed."""
        if self.process is None or self.process.poll() is not None:
            log = (self._folder / "connect.log").read_text(errors="replace")[-1500:]
            raise Terminal(f"Kafka Connect ended: {log}", part="bench")
        try:
            with urllib.request.urlopen(f"{self._rest}/connectors/{NAME}/status", timeout=5) as answer:
                status: dict[str, Any] = json.load(answer)
        except (URLError, OSError):
            return  # it is still starting
        failed = [task["trace"] for task in status["tasks"] if task["state"] == "FAILED"]
        if failed:
            raise Terminal(f"Debezium failed: {failed[0][:800]}", part="bench")

    def _put(self, word: str) -> None:
        request = urllib.request.Request(f"{self._rest}/connectors/{NAME}/{word}", method="PUT")
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(request, timeout=30).close()
                return
            except (URLError, OSError) as error:
                if time.monotonic() > deadline:
                    raise Terminal(f"Kafka Connect does not {word}: {error}", part="bench") from error
                time.sleep(0.5)

    def _worker(self) -> dict[str, str]:
        converter = "org.apache.kafka.connect.json.JsonConverter"
        return {
            "bootstrap.servers": self._settings.kafka,
            "listeners": self._rest,
            "key.converter": converter,
            "value.converter": converter,
            # Without the schema in every record: half the work.
            "key.converter.schemas.enable": "false",
            "value.converter.schemas.enable": "false",
            "offset.storage.file.filename": str(self._folder / "offsets"),
            "offset.flush.interval.ms": "5000",
            "plugin.discovery": "only_scan",
            **{f"producer.{name}": value for name, value in self._tuning.producer.items()},
        }

    def _connector(self) -> dict[str, str]:
        source = self._source
        return {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "database.hostname": str(source.hostname),
            "database.port": str(source.port),
            "database.user": str(source.username),
            "database.password": unquote(source.password or ""),
            "database.dbname": source.path[1:],
            "topic.prefix": PREFIX,
            "plugin.name": "pgoutput",
            "slot.name": "debezium",
            "publication.autocreate.mode": "filtered",
            "table.include.list": f"public.{self._table}",
            "tombstones.on.delete": "false",
            "topic.creation.default.partitions": "1",
            "topic.creation.default.replication.factor": "1",
            **self._tuning.connector,
        }
