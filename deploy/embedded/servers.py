"""The four servers together: prepared side by side, each known healthy by its own protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed

from datarail.errors import Terminal, Transient
from datarail.settings import Settings
from deploy.embedded import clickhouse_setup, kafka_server, postgres_setup, redis_setup
from deploy.embedded.install import Progress, Software
from deploy.program import Program

#: In the order of starting.
SERVERS = {
    "kafka": kafka_server,
    "clickhouse": clickhouse_setup,
    "redis": redis_setup,
    "postgres": postgres_setup,
}


def prepare(
    settings: Settings, ports: Mapping[str, int], software: Software, progress: Progress
) -> list[Program]:
    """Configurations and data folders of all servers; the first start makes them."""
    for folder in ("conf", "data"):
        (settings.home / folder).mkdir(parents=True, exist_ok=True)
    if not (settings.home / "data" / "kafka").exists():
        progress("Kafka, PostgreSQL: preparing the data folders …")
    with ThreadPoolExecutor(len(SERVERS)) as pool:
        steps = [pool.submit(server.prepare, settings, ports, software) for server in SERVERS.values()]
        return [step.result() for step in steps]


def wait_healthy(
    settings: Settings, progress: Progress, *, failed: Callable[[str], str | None], timeout: float = 90
) -> None:
    """Wait until every server answers. `failed(name)` says why a server will not come, or None."""
    with ThreadPoolExecutor(len(SERVERS)) as pool:
        waits = {pool.submit(_wait, settings, name, failed, timeout): name for name in SERVERS}
        for wait in as_completed(waits):
            progress(f"{waits[wait]}: ready after {wait.result():.1f} s")


def check(settings: Settings, name: str) -> str | None:
    """None while a server answers, else what is wrong."""
    try:
        SERVERS[name].check(settings)
    except Transient as error:
        return error.message
    return None


def _wait(settings: Settings, name: str, failed: Callable[[str], str | None], timeout: float) -> float:
    began = time.monotonic()
    while (wrong := check(settings, name)) is not None:
        if reason := failed(name):
            raise Terminal(reason, part=name, remedy=f"see {settings.home}/logs/{name}.log")
        if time.monotonic() - began > timeout:
            raise Terminal(
                f"not ready after {timeout:.0f} s: {wrong}",
                part=name,
                remedy=f"see {settings.home}/logs/{name}.log",
            )
        time.sleep(0.2)
    return time.monotonic() - began
