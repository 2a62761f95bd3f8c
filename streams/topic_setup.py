"""Topics of the stations, made when missing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError

from datarail import topics
from datarail.contract import Contract
from datarail.errors import Terminal, Transient
from datarail.settings import Settings
from streams.publisher import LARGEST

log = logging.getLogger(__name__)


async def ensure(settings: Settings, contracts: Iterable[Contract]) -> None:
    """Make the topics of these stations where missing.

    A train topic has as many partitions as its raw topic. Raises Terminal when they differ or
    Kafka refuses us, and Transient when Kafka is away.
    """
    admin = AIOKafkaAdminClient(**settings.kafka_access.aiokafka(), client_id="datarail-streams")
    try:
        await admin.start()
        present = set(await admin.list_topics())
        contracts = list(contracts)
        raw = [topics.raw(contract.station) for contract in contracts]
        await _create(admin, settings, dict.fromkeys(raw, settings.partitions), present)
        sizes = await _sizes(admin, raw)
        wanted = {topics.QUARANTINE: settings.partitions}
        for contract in contracts:
            size = sizes[topics.raw(contract.station)]
            wanted[topics.train(contract.station)] = size
            wanted |= {topics.clean(contract.station, name): size for name in contract.resources}
        await _create(admin, settings, wanted, present)
        found = await _sizes(admin, wanted)
        for contract in contracts:
            name = topics.train(contract.station)
            if found[name] != wanted[name]:
                raise Terminal(
                    f"topic {name} has {found[name]} partitions, {topics.raw(contract.station)} has "
                    f"{wanted[name]}: trains would not find their place",
                    part="streams",
                    remedy=f"delete {name} and rebuild the sinks, or give both the same number",
                )
    except (KafkaError, OSError) as error:
        raise await asyncio.to_thread(settings.kafka_access.away, error, "streams") from error
    finally:
        await admin.close()


async def _create(
    admin: AIOKafkaAdminClient, settings: Settings, wanted: Mapping[str, int], present: set[str]
) -> None:
    for name, partitions in wanted.items():
        if name in present:
            continue
        topic = NewTopic(
            name, partitions, settings.replication, topic_configs={"max.message.bytes": str(LARGEST)}
        )
        try:
            await admin.create_topics([topic])
        except TopicAlreadyExistsError:
            continue  # somebody else was quicker


async def _sizes(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, int]:
    names = list(names)
    sizes: dict[str, int] = {}
    # A topic just made is known a moment before its partitions are.
    for _ in range(50):
        described = await admin.describe_topics(names)
        sizes = {topic["topic"]: len(topic["partitions"]) for topic in described}
        if all(sizes.get(name) for name in names):
            return sizes
        await asyncio.sleep(0.1)
    lacking = [name for name in names if not sizes.get(name)]
    raise Transient(f"Kafka has no partitions yet for {', '.join(lacking)}", part="streams")
