"""Which ports the embedded servers take: the defaults, unless another program has them."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping

from datarail.settings import DEFAULT_PORTS, Settings, embedded_ports

#: Parts serve their metrics on a block of ports; this many are looked at before the block is taken.
METRICS_BLOCK = 12


def settle(wanted: Mapping[str, int], free: Callable[[int], bool], another: Callable[[], int]) -> dict[str, int]:
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
    wanted = embedded_ports(settings.folder)
    ports = settle(wanted, is_free, any_free)
    if ports != DEFAULT_PORTS or ports != wanted:
        (settings.home / "ports.json").write_text(json.dumps(ports, indent=2) + "\n")
    return ports


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
    """A port that the system says is free, below its range of ephemeral ports where it can."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
