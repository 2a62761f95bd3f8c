"""CPU seconds and memory of each process of the line, servers included."""

from __future__ import annotations

import contextlib
import threading
import time

import psutil

from datarail.settings import Settings
from deploy import line


class Usage:
    """Watches the line's processes while a workload runs; a context manager.

    cpu: seconds by part between entering and leaving, children included (PostgreSQL forks one a
    session), also of those that ended. peak_mb: the largest resident memory seen, by part. beside:
    CPU seconds of what is no part of the line: "bench" is this process, which asks Kafka how far all
    is; "strangers" all else on the machine.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.cpu: dict[str, float] = {}
        self.peak_mb: dict[str, float] = {}
        self.beside: dict[str, float] = {}

    def __enter__(self) -> Usage:
        self._before = cpu_seconds(self._settings)
        self._own, self._machine = time.process_time(), machine_seconds()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        after = cpu_seconds(self._settings)
        self.cpu = {part: used - self._before.get(part, 0.0) for part, used in after.items()}
        own, machine = time.process_time() - self._own, machine_seconds() - self._machine
        self.beside = {"bench": own, "strangers": max(0.0, machine - own - sum(self.cpu.values()))}

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            for part in (part for part in line.parts(self._settings) if part.pid):
                self.peak_mb[part.name] = max(self.peak_mb.get(part.name, 0.0), part.rss_mb)


def cpu_seconds(settings: Settings) -> dict[str, float]:
    """By part: user and system seconds so far."""
    return {part.name: sum(map(_seconds, _family(part.pid))) for part in line.parts(settings) if part.pid}


def machine_seconds() -> float:
    """CPU seconds the whole machine has worked so far."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def _seconds(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        # Children that ended are in their parent's account.
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0
