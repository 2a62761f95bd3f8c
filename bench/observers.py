"""Processes beside the line that look at it; what they use of the machine is told as well."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import psutil

from bench.subscriber import I64
from datarail.errors import Terminal

Sight = tuple[I64, I64]  # commit, seen: µs since 1970, one entry a change


class Observers:
    """name → (function, its arguments); each function gets a pipe as well, says "ready" through it,
    looks until it is told "stop" and answers with {hop: Sight}. A context manager: all are ready when
    it is entered, and gone when it is left."""

    def __init__(self, wanted: Mapping[str, tuple[Any, tuple[Any, ...]]]) -> None:
        self._wanted = wanted
        self._running: dict[str, tuple[Any, Connection]] = {}

    def __enter__(self) -> Observers:
        spawn = multiprocessing.get_context("spawn")
        try:
            for name, (target, given) in self._wanted.items():
                ours, theirs = spawn.Pipe()
                process = spawn.Process(target=target, args=(*given, theirs), daemon=True)
                process.start()
                self._running[name] = (process, ours)
            for name in self._running:
                self._receive(name, 60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process, _pipe in self._running.values():
            process.kill()
            process.join()

    def stop(self, name: str, seconds: float = 300) -> dict[str, Sight]:
        """What one of them has seen; nothing from one that does not run."""
        if name not in self._running:
            return {}
        self._running[name][1].send("stop")
        seen: dict[str, Sight] = self._receive(name, seconds)
        return seen

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, by name."""
        return {name: _seconds(process.pid) for name, (process, _) in self._running.items()}

    def _receive(self, name: str, seconds: float) -> Any:
        process, pipe = self._running[name]
        deadline = time.monotonic() + seconds
        while not pipe.poll(0.2):
            if not process.is_alive() or time.monotonic() > deadline:
                raise Terminal(f"the {name} beside the line does not answer", part="bench")
        return pipe.recv()


def _seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
