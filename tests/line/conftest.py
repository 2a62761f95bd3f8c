"""The sample city's whole line in a working folder of its own, driven by the commands a user types."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datarail.settings import Settings
from deploy import line
from deploy.embedded import ports

REPOSITORY = Path(__file__).parent.parent.parent
PREFIX = "datarail-line-"
ROWS = 20_000


class City:
    """The line as its user sees it: a folder, and `datarail` commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings.load(folder)
        self.env = {
            **os.environ,
            "DATARAIL_FOLDER": str(folder),
            "DATARAIL_CITY_RATE": "0",  # the tests bring their own load
            "DATARAIL_CITY_ROWS": str(ROWS),
            "PYTHONPATH": str(REPOSITORY),
        }

    def run(self, *words: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from datarail.cli import app; app()", *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.env, text=True, capture_output=True, timeout=timeout
        )

    def json(self, *words: str, timeout: float = 300.0) -> Any:
        done = self.run(*words, "--json", timeout=timeout)
        assert done.returncode == 0, f"datarail {' '.join(words)}: {done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def audit(self, timeout: float = 120.0) -> dict[str, Any]:
        """The audit's document, whether it balances or not."""
        done = self.run("audit", "--json", "--timeout", str(int(timeout)), timeout=timeout + 120)
        assert done.stdout, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        assert document["balanced"] == (done.returncode == 0)
        return document

    def pid(self, part: str) -> int:
        return next(each.pid for each in line.parts(self.settings) if each.name == part)

    def kill(self, part: str) -> None:
        """kill -9, and wait until the supervisor has started it again."""
        pid = self.pid(part)
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            known = {each.name: each for each in line.parts(self.settings)}
            if known[part].pid not in (0, pid) and known[part].state in ("RUNNING", "STARTING"):
                return
            time.sleep(0.2)
        raise AssertionError(f"{part} did not come back")

    def load(self, rate: int, seconds: float) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "examples.city",
            "load",
            "--rate",
            str(rate),
            "--seconds",
            str(seconds),
        ]
        return subprocess.Popen(command, cwd=self.folder, env=self.env, text=True, stderr=subprocess.PIPE)


@pytest.fixture(scope="session")
def city() -> Iterator[City]:
    """The city up and its first load landed; taken down, whatever happens, at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    folder.chmod(0o755)
    (folder / "examples").symlink_to(REPOSITORY / "examples")
    ports.apart(Settings.load(folder))
    rail = City(folder)
    try:
        done = rail.run("up", "--json", timeout=420)
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["flowing"]
        yield rail
    finally:
        if os.environ.get("DATARAIL_KEEP_LINE"):
            shutil.copytree(
                folder / ".datarail" / "logs", Path(os.environ["DATARAIL_KEEP_LINE"]), dirs_exist_ok=True
            )
        line.clean(rail.settings)
        shutil.rmtree(folder, ignore_errors=True)
