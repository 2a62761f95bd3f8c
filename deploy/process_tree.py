"""How much memory a process and those it started hold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def resident(pids: Iterable[int], proc: Path = Path("/proc")) -> dict[int, int]:
    """Bytes resident by pid: its own RSS, and of its descendants what they share with nobody."""
    children: dict[int, list[int]] = {}
    for entry in proc.iterdir():
        if entry.name.isdigit() and (parent := _status(entry, "PPid")) is not None:
            children.setdefault(parent, []).append(int(entry.name))

    def descendants(pid: int) -> list[int]:
        return [found for child in children.get(pid, []) for found in (child, *descendants(child))]

    return {
        pid: 1024
        * (
            (_status(proc / str(pid), "VmRSS") or 0)
            + sum(_status(proc / str(child), "RssAnon") or 0 for child in descendants(pid))
        )
        for pid in pids
    }


def _status(process: Path, field: str) -> int | None:
    """One number of /proc/<pid>/status, None where the process is gone or has no such field."""
    try:
        text = (process / "status").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return None
