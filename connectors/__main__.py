"""`python -m connectors STATION`: capture one station until told to end."""

from __future__ import annotations

import argparse
import gc
import logging
import signal
import sys
import threading
from types import FrameType

from connectors import control, registry
from datarail import metrics
from datarail.contract_file import read_contract
from datarail.errors import ContractError, RailError, Transient
from datarail.settings import Settings

log = logging.getLogger("connector")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m connectors", description=__doc__)
    parser.add_argument("station", help="department.system, as in stations/")
    parser.add_argument(
        "--resnapshot", action="store_true", help="new slot, new epoch, and every table read again"
    )
    asked = parser.parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format=f"%(asctime)s %(levelname)s {asked.station} %(message)s"
    )
    logging.getLogger("kafka").setLevel(logging.ERROR)
    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    # Values are bytes and live for milliseconds: hunting cycles among them only costs time.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    try:
        settings = Settings.load()
        contract = read_contract(settings.stations / f"{asked.station}.yaml")
        kind = registry.KINDS.get(contract.source.kind)
        if kind is None:
            raise ContractError(f"source.kind: {contract.source.kind} is none of {', '.join(registry.KINDS)}")
        metrics.serve()
        if asked.resnapshot:
            control.resnapshot(settings, contract.station)
        kind.run(settings, contract, stop)
    except Transient as error:
        log.error("%s", error)
        return 75
    except RailError as error:
        log.error("stopped: %s", error)
        return 1
    log.info("ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
