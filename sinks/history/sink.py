"""The history sink: lands as every planned sink does, and shows a light load's rows before."""

from __future__ import annotations

import time

from datarail.position import Mark
from datarail.settings import Settings
from datarail.small_car import SmallCar
from sinks.clickhouse import ClickHouse
from sinks.history import arriving
from sinks.history.landing import HistoryLanding
from sinks.history.tables import table_name
from sinks.lateness import CATCHING_UP
from sinks.planned import PlannedSink
from sinks.port import Arrival

#: Seconds between landings while all that came is shown, and between two shows.
SHOWN, EVERY = 10.0, 0.7
#: More rows than these land at once: what is shown is kept in memory, and a larger insert is cheap.
MOST_SHOWN = 15_000


class HistorySink(PlannedSink):
    """sinks.planned.PlannedSink with sinks.port.Early."""

    landing: HistoryLanding

    def __init__(self, settings: Settings, store: ClickHouse | None = None) -> None:
        super().__init__(settings, HistoryLanding(), store)
        self._unshown: list[Arrival] = []
        self._unshown_since = 0.0
        self._all_small = True

    def write(self, arrivals: list[Arrival]) -> None:
        super().write(arrivals)
        if not self._unshown:
            self._unshown_since = time.monotonic()
        self._unshown += arrivals
        self._all_small = self._all_small and all(map(self._is_small, arrivals))

    def show(self) -> bool:
        if not self._unshown or not self._light or time.monotonic() - self._unshown_since < EVERY:
            return False
        captured = self._unshown[-1].train.manifest.captured / 1e6
        if time.time() - captured > CATCHING_UP:
            return False  # nobody sees a second of difference then
        self.store.insert(arriving.TABLE, arriving.rows(self._unshown))
        self._unshown = []
        return True

    @property
    def flush_every(self) -> float:
        return SHOWN if self._waits_shown else super().flush_every

    @property
    def late(self) -> bool:
        return super().late and not self._waits_shown

    def flush(self) -> dict[tuple[str, int], Mark]:
        marks = super().flush()
        self._unshown, self._all_small = [], True
        return marks

    @property
    def _waits_shown(self) -> bool:
        """Whether what is buffered can wait, since it is shown. A flush of many tables on busy cores
        takes seconds, and what comes next is late by that: to land it soon for it would make the next
        one late too, and so on."""
        return self._light and self._late <= CATCHING_UP

    @property
    def _light(self) -> bool:
        return self._all_small and self._rows <= MOST_SHOWN

    def _is_small(self, arrival: Arrival) -> bool:
        """Whether its rows are few, and of tables that have been made, so that they have a view."""
        manifest = arrival.train.manifest
        return all(
            isinstance(car, SmallCar)
            and self.landing.tables.knows(table_name(manifest.station, entry.resource))
            for entry, car in zip(manifest.cars, arrival.train.cars, strict=True)
            if car.num_rows
        )
