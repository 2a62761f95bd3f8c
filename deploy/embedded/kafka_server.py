"""Kafka in KRaft mode: one broker that is its own controller."""

from __future__ import annotations

import base64
import socket
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from datarail.errors import Terminal, Transient
from datarail.settings import Settings
from deploy.embedded.install import Software
from deploy.program import Program

LARGEST_MESSAGE = 16 * 1024 * 1024
RETAINED_HOURS = 72
RETAINED_BYTES = 2 * 1024**3  # of each partition, unless its topic says otherwise

#: slf4j's simple binding writes to stderr, which the supervisor keeps and rotates.
LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.BrokerLifecycleManager=info",
)


def properties(ports: Mapping[str, int], data: Path) -> str:
    """server.properties."""
    controller = ports["kafka_controller"]
    options = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{ports['kafka']},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{ports['kafka']}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "message.max.bytes": LARGEST_MESSAGE,
        "replica.fetch.max.bytes": LARGEST_MESSAGE,
        "socket.request.max.bytes": 4 * LARGEST_MESSAGE,
        "compression.type": "producer",
        "log.retention.hours": RETAINED_HOURS,
        "log.retention.bytes": RETAINED_BYTES,
        "log.segment.bytes": 128 * 1024**2,
        "log.retention.check.interval.ms": 60_000,
        # Index files are made at full size for each segment, 10 MB a partition by default.
        "log.index.size.max.bytes": 1024**2,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # A killed broker may register again only when its last session has run out (9 s by default).
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 1000,
        "group.initial.rebalance.delay.ms": 0,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "num.recovery.threads.per.data.dir": 2,
        "log.cleaner.dedupe.buffer.size": 16 * 1024**2,
        "metadata.log.max.record.bytes.between.snapshots": 4 * 1024**2,
        "metadata.max.retention.bytes": 32 * 1024**2,
    }
    return "".join(f"{name}={value}\n" for name, value in options.items())


def java(software: Software, main: str, *options: str) -> tuple[str, ...]:
    """The command of one of Kafka's main classes."""
    classpath = f"{software.kafka_jars}/*"
    return (str(software.java), *options, *LOGGING, "-cp", classpath, main)


def prepare(settings: Settings, ports: Mapping[str, int], software: Software) -> Program:
    """Write the configuration, format the data folder at the first start; returns the program."""
    data, conf = settings.home / "data" / "kafka", settings.home / "conf" / "kafka.properties"
    conf.write_text(properties(ports, data))
    if not (data / "meta.properties").exists():
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = (
            *java(software, "kafka.tools.StorageTool", "-Xmx128m", "-XX:TieredStopAtLevel=1"),
            # One word: an id may begin with a dash.
            *("format", "--ignore-formatted", f"--cluster-id={cluster}", "--config", str(conf)),
        )
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            raise Terminal(f"formatting failed: {(run.stderr or run.stdout)[-800:]}", part="kafka")
    options = (
        # Serial: on 2 cores measured 40 MB smaller than G1 at the same CPU and the same p99.
        *("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC"),
        *("-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"),
    )
    return Program(
        name="kafka",
        command=(*java(software, "kafka.Kafka", *options), str(conf)),
        folder=settings.home,
        patience=30,
    )


def check(settings: Settings) -> None:
    """Ask for the cluster's metadata; raises Transient while Kafka does not answer."""
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        # Kafka listens when it is ready and not before; the client would wait ever longer for it.
        host, port = settings.kafka.split(",")[0].rsplit(":", 1)
        socket.create_connection((host, int(port)), timeout=3).close()
        admin = KafkaAdminClient(**settings.kafka_access.kafka_python())
    except KafkaError as error:
        raise settings.kafka_access.away(error, "kafka") from None
    except OSError as error:
        raise Transient(f"no answer: {error!r}", part="kafka") from None
    try:
        if not admin.describe_cluster().get("brokers"):
            raise Transient("no broker has registered yet", part="kafka")
    except (KafkaError, OSError) as error:
        raise Transient(f"no metadata: {error!r}", part="kafka") from None
    finally:
        admin.close()
