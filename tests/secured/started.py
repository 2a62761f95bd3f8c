"""A server as a process of its own, with its log in a file."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from datarail.errors import Transient


class Started:
    """Runs the command until `stop`."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out)

    def wait(self, ask: Callable[[], object]) -> None:
        """Until it answers: `ask` raises OSError or Transient before. Where it does not, it is stopped."""
        until = time.monotonic() + 60
        try:
            while True:
                try:
                    ask()
                    return
                except (OSError, Transient):
                    assert self._process.poll() is None and time.monotonic() < until, self._log.read_text()
                    time.sleep(0.1)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
