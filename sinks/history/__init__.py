"""History: every change of every resource, as written and as cleaned, queryable by key and time.

One ClickHouse table per resource: `history`.`<station>.<resource>`, and with what is on its way
`live`.`<station>.<resource>` (sinks.history.arriving).
"""

from __future__ import annotations

from datarail.contract import Contract
from datarail.settings import Settings
from sinks.history.landing import HistoryLanding
from sinks.history.sink import HistorySink
from sinks.rebuild import Progress, rebuild_planned


def open_sink(settings: Settings, contracts: dict[str, Contract]) -> HistorySink:
    """Needs no contracts: tables follow the cars' own columns."""
    return HistorySink(settings)


def rebuild(settings: Settings, contracts: dict[str, Contract], progress: Progress) -> None:
    """Drop what Kafka still holds and land it again; older changes stay."""
    rebuild_planned(settings, HistoryLanding(), progress)
