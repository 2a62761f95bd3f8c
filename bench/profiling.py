"""Where the time goes: py-spy on every Python process of the line while a workload runs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bench.say import say
from datarail.settings import Settings
from deploy import line
from deploy.embedded.servers import SERVERS

_RATE = 100
#: A thread that waits in one of these does nothing; py-spy cannot always tell.
_WAITING = (
    "EpollSelector.select",
    "_PollLikeSelector.select",
    "Condition.wait",
    "Streaming._wait",
    "Shipper.wait",
)


class Profiles:
    """A context manager; folder None: nothing is done. Afterwards the folder holds <part>.txt, the
    stacks seen and how often ("a;b;c count"), and the hottest functions have been told."""

    def __init__(self, settings: Settings, folder: Path | None, seconds: int = 600) -> None:
        self._settings = settings
        self._folder = folder
        self._seconds = seconds
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Profiles:
        if self._folder is None:
            return self
        self._folder.mkdir(parents=True, exist_ok=True)
        spy = Path(sys.executable).with_name("py-spy")
        for part in line.parts(self._settings):
            if part.pid and part.name not in SERVERS:
                command = [
                    str(spy),
                    "record",
                    "-p",
                    str(part.pid),
                    "-d",
                    str(self._seconds),
                    "-r",
                    str(_RATE),
                ]
                command += ["-f", "raw", "-o", str(self._folder / f"{part.name}.txt")]
                self._running[part.name] = subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
        return self

    def __exit__(self, *_: object) -> None:
        for spy in self._running.values():
            spy.send_signal(2)  # it writes what it has
        for name, spy in self._running.items():
            spy.wait(timeout=30)
            file = self._folder / f"{name}.txt" if self._folder else None
            if file and file.exists():
                say(f"  {name}: {hottest(file.read_text())}")


def hottest(stacks: str, most: int = 12) -> str:
    """Where the samples were taken while the process worked: functions, most first, their share."""
    inside: Counter[str] = Counter()
    total = 0
    for each in stacks.splitlines():
        stack, _, count = each.rpartition(" ")
        frames = [re.sub(r":\d+\)$", ")", frame) for frame in stack.split(";")]
        if frames[-1].startswith(_WAITING):
            continue
        total += int(count)
        for frame in set(frames):
            inside[frame] += int(count)
    shares = (f"{name} {count / total:.0%}" for name, count in inside.most_common() if count < 0.9 * total)
    return f"{total / _RATE:.1f} s at work: " + ", ".join(list(shares)[:most])
