"""Theme stores: golden records by key in Redis, and in ClickHouse for queries.

The way of a batch: sinks.latest reduces it, `build` makes texts and rows, `landing` decides what
each store is told, `golden` and `table` tell them, `sink` keeps the order. `merge` is the golden
record at reading, `lookup` one of them, `view` the same in SQL.
"""

from __future__ import annotations

from collections.abc import Callable

from datarail.contract import Contract
from datarail.settings import Settings
from datarail.themes import read_themes
from sinks.themes.rebuild import rebuild_themes
from sinks.themes.sink import ThemesSink


def open_sink(settings: Settings, contracts: dict[str, Contract]) -> ThemesSink:
    """The sink with the working folder's stores (themes.yaml) and contracts."""
    return ThemesSink.of(settings, contracts, read_themes(settings.folder))


def rebuild(settings: Settings, contracts: dict[str, Contract], progress: Callable[[str], None]) -> None:
    """Wipe the theme stores and derive them anew; the sink's process must not run meanwhile."""
    rebuild_themes(settings, contracts, progress)
