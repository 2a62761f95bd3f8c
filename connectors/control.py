"""What people ask of a station: rest, go on, read everything again, leave.

Marks stand in the state topic, so a connector on any machine sees them within a second or two.
All raise Transient when Kafka (or, for detach, the source) is away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from connectors import log_topics, registry
from connectors.state import Record, State, stations_where
from datarail.contract import Contract
from datarail.settings import Settings


def pause(settings: Settings, station: str) -> None:
    """The connector stays up and stops reading; the source keeps its log for it."""
    _mark(settings, station, {"paused": True})


def resume(settings: Settings, station: str) -> None:
    _mark(settings, station, {"paused": False})


def resnapshot(settings: Settings, station: str) -> None:
    """At its next start the connector makes a new slot and epoch, and reads every table again."""
    _mark(settings, station, {"resnapshot": True})


def paused(settings: Settings) -> set[str]:
    """The stations of the working folder that are paused."""
    log_topics.ensure_state(settings)
    marked = stations_where(settings, "control", lambda record: bool(record.get("paused")))
    return marked & {file.stem for file in settings.stations.glob("*.yaml")}


def detach(settings: Settings, contract: Contract) -> list[str]:
    """Drop what the station has in the source (its connector must be stopped); returns what was
    dropped. Idempotent. Attached again, the station begins a new epoch with a snapshot.

    Raises Terminal when the slot is in use.
    """
    dropped = registry.KINDS[contract.source.kind].detach(settings, contract)
    with _state(settings, contract.station) as state:
        epoch = state.get("epoch")
        gone: dict[str, Record | None] = {
            f"{kind}/{rest}": None for kind in ("chunk", "snapshot") for rest, _ in state.find(f"{kind}/")
        }
        if epoch is not None:
            gone["epoch"] = {**epoch, "slot": None, "again": True}
        gone["control"] = None
        state.put_all(gone)
    return dropped


def _mark(settings: Settings, station: str, mark: Record) -> None:
    with _state(settings, station) as state:
        state.put("control", {**(state.get("control") or {}), **mark})


@contextmanager
def _state(settings: Settings, station: str) -> Iterator[State]:
    log_topics.ensure_state(settings)
    state = State(settings, station)
    try:
        yield state
    finally:
        state.close()
