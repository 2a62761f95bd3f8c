"""Quarantine 隔离区: every held change and unreadable record as a queryable row, with its reasons."""

from __future__ import annotations

from datarail.contract import Contract
from datarail.settings import Settings
from sinks.planned import PlannedSink
from sinks.quarantine.landing import QuarantineLanding
from sinks.rebuild import Progress, rebuild_planned


def open_sink(settings: Settings, contracts: dict[str, Contract]) -> PlannedSink:
    """Needs no contracts: the records say what was found."""
    return PlannedSink(settings, QuarantineLanding())


def rebuild(settings: Settings, contracts: dict[str, Contract], progress: Progress) -> None:
    """Land again what Kafka still holds; older rows stay."""
    rebuild_planned(settings, QuarantineLanding(), progress)
