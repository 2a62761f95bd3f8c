"""The ledger 台账: what was captured, cleaned and held, per resource and minute, from the
manifests of raw and clean trains. It opens no train, but for those that repeat in part.
"""

from __future__ import annotations

from datarail.contract import Contract
from datarail.settings import Settings
from sinks.ledger.landing import LedgerLanding
from sinks.planned import PlannedSink
from sinks.rebuild import Progress, rebuild_planned


def open_sink(settings: Settings, contracts: dict[str, Contract]) -> PlannedSink:
    """Needs no contracts: manifests say all."""
    return PlannedSink(settings, LedgerLanding())


def rebuild(settings: Settings, contracts: dict[str, Contract], progress: Progress) -> None:
    """Count again what Kafka still holds; older entries stay."""
    rebuild_planned(settings, LedgerLanding(), progress)
