"""`datarail rebuild themes`: everything wiped, then derived from history; the rest is in Kafka."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from datarail.contract import Contract
from datarail.settings import Settings
from datarail.themes import read_themes
from datarail.topics import train
from sinks.clickhouse import ClickHouse
from sinks.contributions import ContributionStores
from sinks.redis_calls import connect
from sinks.themes.golden import Golden
from sinks.themes.sink import ThemesSink
from sinks.themes.table import ThemeTables


def rebuild_themes(
    settings: Settings, contracts: Mapping[str, Contract], progress: Callable[[str], None]
) -> None:
    """Safe to repeat. What history has not landed yet the sink itself takes from Kafka when its
    process runs again."""
    themes = read_themes(settings.folder)
    progress("themes: wiping the golden records in Redis and ClickHouse")
    ContributionStores(settings.home, ThemesSink.name).wipe()
    golden = Golden(connect(settings.redis))
    golden.wipe()
    golden.close()
    tables = ThemeTables(ClickHouse(settings.clickhouse), themes)
    tables.wipe()
    tables.close()
    sink = ThemesSink.of(settings, contracts, themes)
    try:
        for station in contracts:
            for partition in range(settings.partitions):
                mark = sink.resume(train(station), partition)
                progress(f"themes: {station}, partition {partition}: derived up to offset {mark.offset}")
    finally:
        sink.close()
