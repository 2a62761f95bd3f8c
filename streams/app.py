"""The Faust app: one agent over the raw topics of all stations of a working folder."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Any

import faust

from datarail import topics
from datarail.settings import Settings
from streams.agent import Loop, Station
from streams.membership import GROUP, MEMBER

log = logging.getLogger(__name__)


def build(settings: Settings, stations: Sequence[Station]) -> faust.App:
    """The app. Topics exist already; topics and contracts are fixed for the life of the process.

    Its member of the group must have left (streams.membership).
    """
    datadir = settings.home / "faust"
    datadir.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        GROUP,
        **settings.kafka_access.faust(),
        store="memory://",
        datadir=datadir,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_commit_interval=1.0,
        broker_session_timeout=15.0,
        broker_heartbeat_interval=3.0,
        broker_max_poll_records=200,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 << 20,
        consumer_group_instance_id=MEMBER,
        stream_buffer_maxsize=64,
        stream_wait_empty=False,
        value_serializer="raw",
        key_serializer="raw",
    )
    raw = app.topic(
        *(topics.raw(station.passage.station) for station in stations),
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
    )

    def current(event: Any) -> bool:
        return bool(event.message.generation_id == app.consumer_generation_id)

    def highwater(topic: str, partition: int) -> int | None:
        end: int | None = app.consumer.highwater(faust.types.TP(topic, partition))
        return end

    @app.agent(raw, name="clean", concurrency=1)
    async def clean(stream: Any) -> None:
        loop = Loop(settings.kafka_access, stations, current, highwater)
        app.on_partitions_revoked.connect(_forget(loop), weak=False)
        work = asyncio.create_task(loop.run())
        work.add_done_callback(_stop_loudly)
        try:
            async for event in stream.noack().events():
                await loop.put(event)
        except Exception:
            # Faust would start the agent again without the events it had taken in.
            log.critical("the agent has stopped", exc_info=True)
            _leave()
        finally:
            work.cancel()
            await loop.close()

    return app


def _forget(loop: Loop) -> Any:
    async def revoked(*_: Any, **__: Any) -> None:
        loop.forget()

    return revoked


def _stop_loudly(work: asyncio.Task[None]) -> None:
    # Faust would go on without the loop and stand still. Nothing is acknowledged that has not
    # passed, so leaving at once loses nothing; the supervisor starts the process again.
    if work.cancelled():
        return
    log.critical("the loop has stopped", exc_info=work.exception())
    _leave()


def _leave() -> None:
    logging.shutdown()
    os._exit(1)
