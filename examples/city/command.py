"""The sample departments, by hand or supervised.

prepare: all that is missing on the embedded server; schema: tables; seed: rows; load: changes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading

import psycopg2

from datarail.errors import RailError
from datarail.settings import Settings
from deploy.embedded import postgres_setup
from examples.city import setup
from examples.city.draw import DEFAULT_SEED
from examples.city.generate import seed
from examples.city.load import CEILING, load
from examples.city.session import addresses

log = logging.getLogger("city-load")


def main() -> int:
    """Run one command; errors are one line."""
    asked = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        if asked.command == "prepare":
            _prepare(asked)
            return 0
        base = asked.url or os.environ.get("CITY_URL") or setup.application_url(Settings.load())
        if asked.command == "schema":
            for department in setup.create_tables(addresses(base)):
                print(f"{department}: tables created")
        elif asked.command == "seed":
            seeded = seed(asked.rows, addresses(base), seed=asked.seed)
            print(json.dumps({"rows": seeded.rows, "faults": seeded.faults, "held": seeded.held}, indent=2))
        else:
            _load(asked, base)
    except RailError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except psycopg2.Error as error:
        print(f"error: {str(error).strip()}", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.city",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=["prepare", "schema", "seed", "load"])
    parser.add_argument("--url", help="any address of the server; else $CITY_URL, else the embedded server")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    rows = int(os.environ.get("DATARAIL_CITY_ROWS", setup.ROWS))
    parser.add_argument(
        "--rows", type=int, default=rows, help="prepare, seed: rows in total [$DATARAIL_CITY_ROWS]"
    )
    parser.add_argument("--rate", type=float, default=200, help="load: changes a second in total")
    parser.add_argument("--seconds", type=float, help="load: end after so long")
    parser.add_argument("--transaction-rows", type=int, help="load: exactly so many rows a commit")
    parser.add_argument("--sessions", type=int, default=1, help="load: of each department")
    parser.add_argument("--ceiling", type=int, default=CEILING, help="load: rows the city stays at")
    return parser.parse_args()


def _prepare(asked: argparse.Namespace) -> None:
    settings = Settings.load()
    superuser = asked.url or postgres_setup.dsn(settings)
    for file in setup.prepare(settings, superuser, rows=asked.rows, seed=asked.seed, progress=print):
        print(f"{file.relative_to(settings.folder)} written")


def _load(asked: argparse.Namespace, base: str) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("%s changes a second over three departments", asked.rate)
    loaded = load(
        asked.rate,
        addresses(base),
        seconds=asked.seconds,
        seed=asked.seed,
        transaction_rows=asked.transaction_rows,
        ceiling=asked.ceiling,
        stop=stop,
        sessions=asked.sessions,
    )
    log.info("%d changes in %d commits, %s", loaded.total, loaded.commits, loaded.changes)
