"""Which ports the embedded servers take: the defaults, unless another program has them."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Mapping

from datarail.errors import Terminal
from datarail.settings import DEFAULT_PORTS, Settings, embedded_ports

#: Parts serve their metrics on a block of ports; this many are looked at before the block is taken.
METRICS_BLOCK = 12

SPARE_PORTS = range(20_000, 32_000)


def settle(
    wanted: Mapping[str, int], free: Callable[[int], bool], another: Callable[[], int]
) -> dict[str, int]:
    """Keep each wanted port that is free; ask `another` for those that are not. Pure."""
    settled: dict[str, int] = {}
    for name, port in wanted.items():
        width = METRICS_BLOCK if name == "metrics" else 1
        while port in settled.values() or not all(free(port + i) for i in range(width)):
            port = another()
        settled[name] = port
    return settled


def choose(settings: Settings) -> dict[str, int]:
    """Settle the ports of a line that is not running, and note them in .datarail/ports.json."""
    ports = settle(embedded_ports(settings.folder), is_free, any_free)
    if ports != DEFAULT_PORTS:
        note(settings, ports)
    return ports


def apart(settings: Settings) -> None:
    """Note ports none of which is a default: for a line that runs beside another."""
    note(settings, settle(dict.fromkeys(DEFAULT_PORTS, 0), lambda port: port > 0 and is_free(port), any_free))


def note(settings: Settings, ports: Mapping[str, int]) -> None:
    """Write .datarail/ports.json, from which every part of the line reads its addresses."""
    settings.home.mkdir(parents=True, exist_ok=True)
    (settings.home / "ports.json").write_text(json.dumps(dict(ports), indent=2) + "\n")


def is_free(port: int) -> bool:
    """Whether this machine's loopback has the port free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def any_free() -> int:
    """A free port below the range from which the system takes ports for outgoing connections.

    Within that range a client that retries while its server is away may be given the very port it
    dials, and is then connected to itself, and the server cannot come back.
    """
    for port in random.sample(SPARE_PORTS, 500):
        if is_free(port):
            return port
    raise Terminal("no free port between 20000 and 32000", part="ports")
