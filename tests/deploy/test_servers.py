"""The embedded servers as they really run: answered, configured, killed, brought back."""

from __future__ import annotations

import os
import signal
import time
import urllib.request

import psycopg2
import pyarrow
import redis
from clickhouse_driver import Client
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from datarail.settings import Settings
from deploy import line
from deploy.embedded import postgres_setup
from deploy.embedded import servers as embedded


def test_postgres_logs_changes_logically(servers: Settings) -> None:
    with psycopg2.connect(postgres_setup.dsn(servers)) as connection, connection.cursor() as cursor:
        cursor.execute("select current_setting('wal_level'), current_setting('server_encoding')")
        assert cursor.fetchone() == ("logical", "UTF8")
        cursor.execute("select lower('ÀÉ'), '户籍' < '法人'")
        assert cursor.fetchone() == ("àé", True)
    connection.close()


def test_postgres_wants_its_password(servers: Settings) -> None:
    secret = servers.home / "secrets" / "postgres"
    assert secret.stat().st_mode & 0o077 == 0
    wrong = postgres_setup.dsn(servers).replace(secret.read_text(), "wrong")
    try:
        psycopg2.connect(wrong)
    except psycopg2.OperationalError as error:
        assert "password authentication failed" in str(error)
    else:
        raise AssertionError("a wrong password was accepted")


def test_clickhouse_speaks_arrow_over_http(servers: Settings) -> None:
    address = f"http://127.0.0.1:{servers.clickhouse.http_port}/"
    client = Client("127.0.0.1", servers.clickhouse.tcp_port)
    client.execute(
        "CREATE OR REPLACE TABLE arrow_check (id Int64, name String) ENGINE = MergeTree ORDER BY id"
    )
    sent = pyarrow.table({"id": [1, 2], "name": ["户籍", "法人"]})
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, sent.schema) as writer:
        writer.write_table(sent)
    insert = f"{address}?query=INSERT+INTO+arrow_check+FORMAT+ArrowStream"
    urllib.request.urlopen(insert, data=sink.getvalue().to_pybytes()).close()
    query = b"SELECT name FROM arrow_check ORDER BY id FORMAT ArrowStream"
    with urllib.request.urlopen(address, data=query) as answer:
        got = pyarrow.ipc.open_stream(answer.read()).read_all()
    assert [str(name) for name in got["name"].cast(pyarrow.string())] == ["户籍", "法人"]
    assert client.execute("SELECT count() FROM arrow_check") == [(2,)]
    client.disconnect()


def test_kafka_takes_a_train_of_eight_megabytes(servers: Settings) -> None:
    admin = KafkaAdminClient(bootstrap_servers=servers.kafka)
    admin.create_topics([NewTopic("deploy-check", 1, 1)])
    admin.close()
    train = os.urandom(8 * 1024 * 1024)
    producer = KafkaProducer(bootstrap_servers=servers.kafka, max_request_size=16 * 1024 * 1024)
    producer.send("deploy-check", train).get(30)
    producer.close()
    consumer = KafkaConsumer(
        "deploy-check",
        bootstrap_servers=servers.kafka,
        auto_offset_reset="earliest",
        consumer_timeout_ms=20_000,
        max_partition_fetch_bytes=16 * 1024 * 1024,
    )
    assert next(consumer).value == train
    consumer.close()


def test_redis_evicts_nothing_and_writes_through(servers: Settings) -> None:
    client = redis.Redis.from_url(servers.redis)
    assert client.config_get("appendfsync") == {"appendfsync": "always"}
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    client.close()


def test_killed_servers_come_back_with_their_data(servers: Settings) -> None:
    client = redis.Redis.from_url(servers.redis)
    client.set("deploy-check", "kept")
    client.close()
    before = {part.name: part.pid for part in line.parts(servers)}
    assert set(before) >= set(embedded.SERVERS)
    for name in embedded.SERVERS:
        os.kill(before[name], signal.SIGKILL)
    time.sleep(0.5)
    embedded.wait_healthy(servers, lambda text: None, failed=lambda name: None)
    after = {part.name: part.pid for part in line.parts(servers)}
    assert not set(before.values()) & set(after.values())
    client = redis.Redis.from_url(servers.redis)
    assert client.get("deploy-check") == b"kept"
    client.delete("deploy-check")
    client.close()


def test_up_again_leaves_what_runs_alone(servers: Settings) -> None:
    before = {part.name: part.pid for part in line.parts(servers)}
    said: list[str] = []
    line.up(servers, only_servers=True, progress=said.append)
    assert {part.name: part.pid for part in line.parts(servers)} == before
    assert not [text for text in said if "downloading" in text]
