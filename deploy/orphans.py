"""Processes that a killed supervisor left behind: known by their line, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

#: Every process of a line carries its folder in this variable: so an orphan is known by its line.
MARK = "DATARAIL_LINE"


def find(home: Path, postmaster: Path, proc: Path = Path("/proc")) -> list[int]:
    """Processes of this line that live though its supervisor is gone.

    They are known by the mark in their environment. PostgreSQL writes over its environment, so its
    first process is known by the pid in `postmaster` and by a command line with its data folder.
    """
    mark = f"{MARK}={home}".encode()
    found = []
    for entry in proc.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # another user's, or gone meanwhile
            continue
    try:
        pid = int(postmaster.read_text().splitlines()[0])
        if str(postmaster.parent).encode() in (proc / str(pid) / "cmdline").read_bytes().split(b"\0"):
            found.append(pid)
    except (OSError, ValueError, IndexError):
        pass
    return sorted(set(found))


def end(home: Path, postmaster: Path, patience: float = 20) -> list[int]:
    """End what a killed supervisor left behind; returns the pids. INT is PostgreSQL's fast shutdown."""
    left = find(home, postmaster)
    ended = list(left)
    deadline = time.monotonic() + patience
    for pid in left:
        _signal(pid, signal.SIGINT if _is_postgres(pid) else signal.SIGTERM)
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = find(home, postmaster)
    for pid in left:
        _signal(pid, signal.SIGKILL)
    while left and time.monotonic() < deadline + 5:
        time.sleep(0.05)
        left = find(home, postmaster)
    return ended


def _is_postgres(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
    except OSError:
        return False


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
