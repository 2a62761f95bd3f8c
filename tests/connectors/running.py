"""A connector as a process of its own, the way the supervisor runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from datarail.settings import Settings

REPOSITORY = Path(__file__).parents[2]


class Connector:
    """`python -m connectors STATION` in a working folder of its own with the servers' addresses."""

    def __init__(self, settings: Settings, folder: Path, station: str) -> None:
        self.station = station
        self.log = folder / f"{station}.log"
        self.settings = settings.model_copy(update={"folder": folder})
        self._environment = {
            **os.environ,
            "DATARAIL_FOLDER": str(folder),
            "DATARAIL_KAFKA": settings.kafka,
            "PYTHONPATH": str(REPOSITORY),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        self._start("connectors", self.station, *more)

    def start_dying(self, notes: Path, at: str = "") -> None:
        """Start one that is killed at its next new note that begins so (tests.connectors.dying)."""
        self._start("tests.connectors.dying", str(notes), at, self.station)

    def _start(self, module: str, *arguments: str) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self._environment,
                cwd=REPOSITORY,
                stderr=log,
                stdout=log,
            )

    def kill(self) -> None:
        """kill -9, nothing less."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def wait(self, seconds: float = 30) -> int:
        assert self._process is not None
        return self._process.wait(seconds)

    @property
    def lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(how)
        return process.wait(30)


def eventually(
    holds: Callable[[], bool], what: str, seconds: float = 40, of: Connector | None = None
) -> None:
    """Wait until it holds; AssertionError says what did not, and what `of` has said until then."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"not within {seconds} s: {what}: {of.said() if of else ''}"
        time.sleep(0.2)
