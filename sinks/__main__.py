"""`python -m sinks NAME`: one sink as a process of its own."""

from __future__ import annotations

import logging
import signal
import sys
import time
from pathlib import Path

from datarail import metrics
from datarail.contract_file import sound_stations
from datarail.errors import ContractError, RailError, Terminal
from datarail.indicators import read_indicators
from datarail.settings import Settings
from datarail.themes import read_themes
from sinks.loop import Loop
from sinks.registry import Contracts, open_sink

log = logging.getLogger("sinks")


class Reader:
    """The contracts of the working folder, and whether they have changed since they were read."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._files = [settings.folder / "indicators.yaml", settings.folder / "themes.yaml"]
        self._seen = self._state()
        self._looked = time.monotonic()
        self.contracts: Contracts = self._read({})

    def changed(self) -> bool:
        """Looks at most once a second. What cannot be used is said, and the old kept."""
        if time.monotonic() - self._looked < 1.0:
            return False
        self._looked = time.monotonic()
        state = self._state()
        if state == self._seen:
            return False
        self._seen = state
        contracts = self._read(self.contracts)
        try:
            read_themes(self.settings.folder)
            read_indicators(self.settings.folder, contracts)
        except ContractError as error:
            log.error("all stays as it was: %s", error)
            return False
        self.contracts = contracts
        return True

    def _read(self, before: Contracts) -> Contracts:
        """The contracts that hold; for one that does not, what it said before."""
        found = sound_stations(self.settings.stations, lambda fault: log.error("%s", fault))
        kept = {file.stem for file in self.settings.stations.glob("*.yaml")} & set(before)
        return {station: before[station] for station in kept} | found

    def _state(self) -> dict[Path, int]:
        files = [*self.settings.stations.glob("*.yaml"), *(file for file in self._files if file.exists())]
        return {file: file.stat().st_mtime_ns for file in files}


class Sparingly(logging.Filter):
    """Lets one line through every ten seconds: Kafka's clients say several a second that a
    broker is away."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.created < self._next and record.name.startswith("kafka"):
            return False
        if record.name.startswith("kafka"):
            self._next = record.created + 10
        return True


def main(name: str) -> None:
    """Run until SIGTERM; contracts that change are taken up without losing a row."""
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: asked.append(received))
    settings = Settings.load()
    metrics.serve()
    reader = Reader(settings)
    while not asked:
        sink = open_sink(name, settings, reader.contracts)
        Loop(sink, settings, lambda: bool(asked) or reader.changed()).run()
        if not asked:
            log.info("%s: the contracts have changed; reading them again", name)


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("kafka").setLevel(logging.ERROR)
    for handler in logging.getLogger().handlers:
        handler.addFilter(Sparingly())
    if len(sys.argv) != 2:
        sys.exit("usage: python -m sinks NAME")
    try:
        main(sys.argv[1])
    except Terminal as error:
        sys.exit(f"{sys.argv[1]}: {error}")
    except RailError as error:
        sys.exit(f"{sys.argv[1]}: {type(error).__name__}: {error}")
