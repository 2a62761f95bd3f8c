"""History: every change of every resource, as written and as cleaned, queryable by key and time.

One ClickHouse table per resource: `history`.`<station>.<resource>`.
"""

from __future__ import annotations

from datarail.contract import Contract
from datarail.settings import Settings
from sinks.history.landing import HistoryLanding
from sinks.planned import PlannedSink
from sinks.rebuild import Progress, rebuild_planned


def open_sink(settings: Settings, contracts: dict[str, Contract]) -> PlannedSink:
    """Needs no contracts: tables follow the cars' own columns."""
    return PlannedSink(settings, HistoryLanding())


def rebuild(settings: Settings, contracts: dict[str, Contract], progress: Progress) -> None:
    """Drop what Kafka still holds and land it again; older changes stay."""
    rebuild_planned(settings, HistoryLanding(), progress)
