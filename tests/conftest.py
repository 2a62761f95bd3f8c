"""The real servers, once for a whole test session, in a working folder of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from datarail.settings import Settings
from deploy import line
from deploy.embedded import ports

REPOSITORY = Path(__file__).parent.parent
PREFIX = "datarail-test-"

# One download serves the checkout and every test session.
os.environ.setdefault("DATARAIL_SOFTWARE", str(REPOSITORY / ".datarail" / "software"))
# Where tests run in several processes, each with its servers, none may note a port that another has noted
# and not yet opened.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_SHARE = len(ports.SPARE_PORTS) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
ports.SPARE_PORTS = ports.SPARE_PORTS[_WORKER * _SHARE : (_WORKER + 1) * _SHARE]
# Brokers of some minutes: what Java's second compiler brings would come after they are gone.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
# What may go wrong with partitions needs two of them.
os.environ.setdefault("DATARAIL_PARTITIONS", "2")


@pytest.fixture(scope="session")
def line_folder() -> Iterator[Path]:
    """A working folder with ports of its own, so that a line beside it goes on undisturbed."""
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    folder.chmod(0o755)  # PostgreSQL, when we are root, runs as somebody else
    (folder / "stations").mkdir()
    ports.apart(Settings.load(folder))
    yield folder
    line.clean(Settings.load(folder))
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def servers(line_folder: Path) -> Settings:
    """Kafka, ClickHouse, Redis and PostgreSQL, started once; tests keep to names of their own.

    `deploy.embedded.postgres_setup.dsn(servers, database)` is the address of a PostgreSQL database.
    """
    return line.up(Settings.load(line_folder), only_servers=True)


def _sweep() -> None:
    """End the line of a session that was killed before it could do so itself."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            line.clean(Settings.load(folder))
            shutil.rmtree(folder, ignore_errors=True)
