"""`python -m streams`: clean and route for all stations of the working folder."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
import time
from collections.abc import Mapping

import faust

from datarail import metrics
from datarail.contract import Contract
from datarail.contract_file import sound_stations
from datarail.errors import Terminal, Transient
from datarail.settings import Settings
from streams import membership, topic_setup
from streams.agent import Station
from streams.app import build

log = logging.getLogger("streams")


def main() -> int:
    """Run until SIGTERM; 0 after a clean stop, 1 after anything a person or supervisor must see."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # Faust tells a great deal of what it does when all is well.
    for name in ("faust", "mode", "aiokafka", "kafka"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        settings = Settings.load()
        contracts = sound_stations(settings.stations, lambda fault: log.error("left out: %s", fault))
        metrics.serve()
        if not contracts:
            log.info("no station in %s yet: waiting to be started again", settings.stations)
            return _wait()
        stations = [Station(contract) for contract in contracts.values()]
        _prepare(settings, contracts)
        app = build(settings, stations)
    except Terminal as error:
        log.critical("%s", error)
        return 1
    log.info("cleaning for %s", ", ".join(contracts))
    worker = faust.Worker(app, loglevel="WARNING", override_logging=False, quiet=True, redirect_stdouts=False)
    try:
        worker.execute_from_commandline()
    except SystemExit as stop:
        return int(stop.code or 0)


def _prepare(settings: Settings, contracts: Mapping[str, Contract]) -> None:
    wait = 0.2
    while True:
        try:
            asyncio.run(topic_setup.ensure(settings, contracts.values()))
            membership.leave(settings.kafka_access)
            return
        except Transient as error:
            log.warning("%s; again in %.1f s", error, wait)
            time.sleep(wait)
            wait = min(wait * 2, 5.0)


def _wait() -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
