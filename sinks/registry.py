"""The sinks by name. A new one is a folder, the contract suite, and one line here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from datarail.contract import Contract
from datarail.errors import Terminal
from datarail.settings import Settings
from sinks.port import Sink

Contracts = dict[str, Contract]
Factory = Callable[[Settings, Contracts], Sink]

#: name → module whose `open_sink(settings, contracts) -> Sink` makes it, and whose
#: `rebuild(settings, contracts, progress)` wipes and refills it while its process is stopped.
#: Modules are imported when asked for: an indicator process needs no ClickHouse client.
SINKS: dict[str, str] = {
    "history": "sinks.history",
    "themes": "sinks.themes",
    "indicators": "sinks.indicators",
    "quarantine": "sinks.quarantine",
    "ledger": "sinks.ledger",
}

#: Those that land every clean change; the ledger's "landed" is the least of them.
LANDING = ("history", "themes", "indicators")


def group(name: str) -> str:
    """The sink's consumer group."""
    return f"sink-{name}"


def open_sink(name: str, settings: Settings, contracts: Contracts) -> Sink:
    """The sink of that name, connected lazily; raises Terminal for a name there is none of."""
    factory = cast(Factory, getattr(import_module(module(name)), "open_sink"))  # noqa: B009 - untyped by design
    return factory(settings, contracts)


def module(name: str) -> str:
    """The module of a sink; raises Terminal for a name there is none of."""
    if name not in SINKS:
        raise Terminal(f"there is no sink {name!r}", part="sinks", remedy=f"one of: {', '.join(SINKS)}")
    return SINKS[name]
