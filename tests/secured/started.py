"""A server as a process of its own, with its log in a file."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from datarail.errors import Transient


class Started:
    """Runs the command until `stop`."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command, self._log = command, log
        self._lock = threading.Lock()
        self._stopped = False
        self._process = self._run()

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

    def keep(self) -> None:
        """From now on run it again where it ends, as the line's supervisor does."""
        threading.Thread(target=self._keep, daemon=True).start()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._process.terminate()
        self._process.wait(30)

    def _run(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as out:
            return subprocess.Popen(self._command, stdout=out, stderr=out)

    def _keep(self) -> None:
        while True:
            self._process.wait()
            with self._lock:
                if self._stopped:
                    return
                self._process = self._run()
