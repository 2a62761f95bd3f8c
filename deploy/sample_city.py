"""The sample city: three departments on the embedded PostgreSQL, for a first look at the line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from datarail.errors import Terminal
from datarail.settings import Settings
from deploy.program import Program

#: Changes a second that the sample departments' clerks commit together; 0: they rest.
RATE_VARIABLE, RATE = "DATARAIL_CITY_RATE", "100"


def is_here(settings: Settings) -> bool:
    """Whether the working folder is one with the sample city in it (a checkout is)."""
    return (settings.folder / "examples" / "city" / "__main__.py").is_file()


def prepare(settings: Settings, progress: Callable[[str], None]) -> None:
    """Make databases, tables, rows and contracts that are not there yet."""
    progress("sample city: preparing three departments …")
    done = subprocess.run(
        [sys.executable, "-m", "examples.city", "prepare"],
        cwd=settings.folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise Terminal(f"the sample city could not be prepared:\n{done.stdout.strip()}", part="sample city")
    for line in done.stdout.strip().splitlines():
        progress(f"sample city: {line}")
    _marker(settings).touch()


def programs(settings: Settings) -> list[Program]:
    """The clerks at work, once the city has been prepared in this folder."""
    rate = os.environ.get(RATE_VARIABLE, RATE)
    if not (is_here(settings) and _marker(settings).exists()) or float(rate) <= 0:
        return []
    command = (sys.executable, "-m", "examples.city", "load", "--rate", rate)
    env = {"DATARAIL_FOLDER": str(settings.folder), "PYTHONUNBUFFERED": "1"}
    return [Program(name="city-load", command=command, folder=settings.folder, env=env)]


def leave(settings: Settings) -> None:
    """No clerks any more; what they wrote stays."""
    _marker(settings).unlink(missing_ok=True)


def _marker(settings: Settings) -> Path:
    return settings.home / "city"
