"""Real-time indicators: counts and sums over the present rows, by dimension and day, in Redis.

`plan`: which items count into what. `counting`: contributions and their differences (pure).
`totals`: the Redis edge. `sink`: the order of writes. `query`: reading.
"""

from __future__ import annotations

from collections.abc import Callable

from datarail.contract import Contract
from datarail.indicators import read_indicators
from datarail.settings import Settings
from datarail.topics import train
from sinks.contributions import ContributionStores
from sinks.indicators.sink import IndicatorsSink
from sinks.indicators.totals import RedisTotals
from sinks.redis_calls import connect


def open_sink(settings: Settings, contracts: dict[str, Contract]) -> IndicatorsSink:
    """The sink with the working folder's indicators.yaml and contracts."""
    return IndicatorsSink.of(settings, contracts, read_indicators(settings.folder, contracts))


def rebuild(settings: Settings, contracts: dict[str, Contract], progress: Callable[[str], None]) -> None:
    """Wipe all totals and count anew from history; the sink's process must not run meanwhile.

    What history has not landed yet the sink itself takes from Kafka when its process runs again.
    """
    progress("indicators: wiping the totals")
    ContributionStores(settings.home, IndicatorsSink.name).wipe()
    totals = RedisTotals(connect(settings.redis))
    totals.wipe()
    totals.close()
    sink = open_sink(settings, contracts)
    try:
        for station in contracts:
            for partition in range(settings.partitions):
                mark = sink.resume(train(station), partition)
                progress(f"indicators: {station}, partition {partition}: counted up to offset {mark.offset}")
    finally:
        sink.close()
