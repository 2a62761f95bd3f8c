"""One kafka_security, four clients: each comes through every listener, and is refused in clear words."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from broker import PASSWORD, USER, Broker
from certificates import Authority
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from pydantic import SecretStr

from connectors import log_topics
from connectors.shipper import Shipper
from datarail import kafka_access
from datarail.errors import RailError, Terminal, Transient
from datarail.kafka_access import KafkaAccess, KafkaSecurity
from datarail.settings import Settings
from datarail.subscriber import Subscription
from sinks.consumer import FETCH_BYTES, open_consumer, plain_consumer
from sinks.fetching import Fetching
from sinks.ledger.query import committed_by_group
from streams import membership, topic_setup
from streams.last_train import read_mark
from streams.publisher import Publisher

LISTENERS = [
    "SCRAM-SHA-512 over TLS",
    "client certificate",
    "client key with password",
    "PLAIN",
    "SCRAM-SHA-256",
]


def access(broker: Broker, authority: Authority, listener: str) -> KafkaAccess:
    """What datarail.yaml would say for it."""
    known = {"user": USER, "password": SecretStr(PASSWORD)}
    if listener == "SCRAM-SHA-512 over TLS":
        return KafkaAccess(
            broker.scram,
            KafkaSecurity(protocol="SASL_SSL", ca_file=authority.file, **known),  # type: ignore[arg-type]
        )
    if listener in ("PLAIN", "SCRAM-SHA-256"):
        given = KafkaSecurity(protocol="SASL_PLAINTEXT", mechanism=listener, **known)  # type: ignore[arg-type]
        return KafkaAccess(broker.plain, given)
    secret = "a key's password" if listener == "client key with password" else ""
    own = authority.issue("rail", secret)
    return KafkaAccess(
        broker.mutual,
        KafkaSecurity(
            protocol="SSL",
            ca_file=authority.file,
            certificate_file=own.certificate,
            key_file=own.key,
            key_password=SecretStr(secret),
        ),
    )


@pytest.fixture(params=LISTENERS)
def reached(request: pytest.FixtureRequest, broker: Broker, authority: Authority) -> KafkaAccess:
    return access(broker, authority, request.param)


def test_every_client_comes_through(reached: KafkaAccess) -> None:
    topic = f"secured.{uuid.uuid4().hex[:8]}"
    # kafka-python
    with closing(KafkaAdminClient(**reached.kafka_python())) as admin:
        admin.create_topics([NewTopic(topic, 1, 1)])
    with closing(KafkaProducer(**reached.kafka_python())) as producer:
        producer.send(topic, b"1", partition=0).get(20)
    place = TopicPartition(topic, 0)
    with closing(KafkaConsumer(**reached.kafka_python())) as consumer:
        assert consumer.end_offsets([place]) == {place: 1}
    # aiokafka, and Faust, whose consumer is aiokafka's
    asyncio.run(_with_aiokafka(reached, topic))
    # librdkafka
    fetching = Fetching(reached, topic, fetch_bytes=FETCH_BYTES, least_bytes=1, wait_ms=100)
    with closing(fetching):
        fetching.read(place, 0)
        assert fetching.ends([place]) == {place: 2}
        values: list[bytes | None] = []
        until = time.monotonic() + 20
        while len(values) < 2 and time.monotonic() < until:
            values += [each.value for records in fetching.poll(0.2).values() for each in records]
        assert values == [b"1", b"2"]


async def _with_aiokafka(reached: KafkaAccess, topic: str) -> None:
    admin = AIOKafkaAdminClient(**reached.aiokafka())
    await admin.start()
    assert topic in await admin.list_topics()
    await admin.close()
    producer = AIOKafkaProducer(**reached.aiokafka())
    await producer.start()
    await producer.send_and_wait(topic, b"2", partition=0)
    await producer.stop()
    app = faust.App("secured", **reached.faust(), store="memory://")
    assert app.conf.broker[0].host == "127.0.0.1"
    given = credentials_to_aiokafka_auth(app.conf.broker_credentials, app.conf.ssl_context)
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=str(reached), auto_offset_reset="earliest", **given)
    await consumer.start()
    assert [(await consumer.getone()).value, (await consumer.getone()).value] == [b"1", b"2"]
    await consumer.stop()


#: Everything that connects, by part.
OPENED: dict[str, Callable[[Settings], object]] = {
    "connector's topics": lambda settings: log_topics.ensure_state(settings),
    "connector's shipper": lambda settings: Shipper(settings, "a.b", 1),
    "streams' topics": lambda settings: asyncio.run(topic_setup.ensure(settings, [])),
    "streams' membership": lambda settings: membership.leave(settings.kafka_access),
    "streams' publisher": lambda settings: asyncio.run(Publisher(settings.kafka_access).start()),
    "streams' mark": lambda settings: asyncio.run(read_mark(settings.kafka_access, "a.b", 0)),
    "sink": lambda settings: open_consumer(settings.kafka_access, "g", "train"),
    "sink's second look": lambda settings: plain_consumer(settings.kafka_access),
    "ledger": lambda settings: committed_by_group(settings, ["g"]),
    "subscriber": lambda settings: Subscription(settings, "clean.a.b"),
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """kafka-python tries again for half a second instead of ten."""
    monkeypatch.setattr(kafka_access, "_LOOKING_MS", 500)


def refused(kafka: KafkaAccess, part: str) -> RailError:
    bare = Settings.load(Path(__file__).parent)
    given = bare.model_copy(update={"kafka": kafka.servers, "kafka_security": kafka.security})
    with pytest.raises(Terminal) as caught:
        OPENED[part](given)
    assert PASSWORD not in str(caught.value) and "wrong" not in str(caught.value)
    return caught.value


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("part", OPENED)
def test_a_wrong_password_is_terminal_everywhere(
    part: str, broker: Broker, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    reached = access(broker, authority, "SCRAM-SHA-512 over TLS")
    wrong = reached.security.model_copy(update={"password": SecretStr("wrong-one")})
    fault = refused(KafkaAccess(reached.servers, wrong), part)
    assert "refuses: user datarail: " in str(fault)
    assert "→ check kafka_security.user and its password: DATARAIL_KAFKA_PASSWORD, or" in str(fault)
    assert "wrong-one" not in caplog.text


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("part", ["connector's topics", "streams' topics", "sink"])
def test_an_unknown_authority_is_terminal(
    part: str, broker: Broker, authority: Authority, stranger: Authority
) -> None:
    reached = access(broker, authority, "SCRAM-SHA-512 over TLS")
    other = KafkaAccess(reached.servers, reached.security.model_copy(update={"ca_file": stranger.file}))
    fault = str(refused(other, part))
    assert "its certificate is not trusted" in fault and "→ check kafka_security: ca_file" in fault


def test_other_refusals_are_told_too(broker: Broker, authority: Authority, stranger: Authority) -> None:
    part = "streams' topics"
    own = access(broker, authority, "client certificate")
    theirs = stranger.issue("stranger")
    none = {"certificate_file": None, "key_file": None}
    unknown = {"certificate_file": theirs.certificate, "key_file": theirs.key}
    for certificate in (none, unknown):
        other = KafkaAccess(own.servers, own.security.model_copy(update=certificate))
        assert "it does not accept our certificate" in str(refused(other, part))
    scram = access(broker, authority, "SCRAM-SHA-512 over TLS")
    # Nor does the system know who signed.
    other = KafkaAccess(scram.servers, scram.security.model_copy(update={"ca_file": None}))
    assert "its certificate is not trusted" in str(refused(other, part))
    other = KafkaAccess(scram.servers, scram.security.model_copy(update={"mechanism": "PLAIN"}))
    assert "let kafka_security.mechanism be one that" in str(refused(other, part))
    # The certificate is for 127.0.0.1: another name of the same machine is another server.
    other = KafkaAccess(scram.servers.replace("127.0.0.1", "127.1"), scram.security)
    assert "must name this address" in str(refused(other, part))


def test_a_sink_that_runs_is_told_too(broker: Broker, authority: Authority) -> None:
    reached = access(broker, authority, "SCRAM-SHA-512 over TLS")
    wrong = reached.security.model_copy(update={"password": SecretStr("wrong-one")})
    other = KafkaAccess(reached.servers, wrong)
    with closing(Fetching(other, "g", fetch_bytes=FETCH_BYTES, least_bytes=1, wait_ms=100)) as consumer:
        consumer.read(TopicPartition("train.a.b", 0), 0)
        until = time.monotonic() + 20
        with pytest.raises(Terminal, match="refuses: user datarail"):
            while time.monotonic() < until:
                consumer.poll(0.2)


def test_a_broker_that_is_away_may_come(authority: Authority) -> None:
    security = KafkaSecurity(protocol="SSL", ca_file=authority.file)
    found = KafkaAccess("127.0.0.1:1", security).away("nobody", "sink")
    assert isinstance(found, Transient) and "does it speak SSL at this address?" in str(found)


def test_a_key_of_another_or_without_its_password_is_told(authority: Authority) -> None:
    first, locked = authority.issue("first"), authority.issue("locked", "a key's password")
    for key, password in ((authority.issue("second").key, ""), (locked.key, "wrong"), (locked.key, "")):
        certificate = first.certificate if key != locked.key else locked.certificate
        with pytest.raises(ValueError, match=r"certificate_file .* cannot be used"):
            KafkaSecurity(
                protocol="SSL", certificate_file=certificate, key_file=key, key_password=SecretStr(password)
            )
