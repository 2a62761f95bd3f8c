"""The supervisor itself, on programs that only sleep: what is touched, what is left, what is orphaned."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from datarail.settings import Settings
from deploy import line, supervision
from deploy.program import Program


def sleeper(settings: Settings, name: str, seconds: int = 600) -> Program:
    return Program(name=name, command=("/bin/sleep", str(seconds)), folder=settings.folder)


def pids(settings: Settings) -> dict[str, int]:
    return {part.name: part.pid for part in line.parts(settings)}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Settings]:
    """A supervisor with two sleepers."""
    settings = Settings.load(tmp_path)
    for folder in ("logs", "run"):
        (settings.home / folder).mkdir(parents=True)
    programs = [sleeper(settings, "one"), sleeper(settings, "two")]
    supervision.launch(settings, supervision.write_conf(settings, programs))
    supervision.start(settings, ["one", "two"])
    yield settings
    line.clean(settings)


def test_only_what_changed_is_touched(running: Settings) -> None:
    before = pids(running)
    programs = [sleeper(running, "one"), sleeper(running, "two", 601), sleeper(running, "three")]
    supervision.write_conf(running, programs)
    assert supervision.adopt(running) == (["three"], ["two"], [])
    supervision.start(running, ["one", "two", "three"])
    after = pids(running)
    assert after["one"] == before["one"]
    assert after["two"] != before["two"] and not alive(before["two"])
    supervision.write_conf(running, [sleeper(running, "one")])
    assert supervision.adopt(running)[2] == ["three", "two"]
    assert pids(running) == {"one": before["one"]}


def test_no_program_inherits_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.load(tmp_path)
    for folder in ("logs", "run"):
        (settings.home / folder).mkdir(parents=True)
    monkeypatch.setenv("DATARAIL_KAFKA_PASSWORD", "as it was at the first up")
    supervision.launch(settings, supervision.write_conf(settings, [sleeper(settings, "one")]))
    try:
        supervision.start(settings, ["one"])
        for pid in (int((settings.home / "run" / "supervisord.pid").read_text()), pids(settings)["one"]):
            assert b"DATARAIL_KAFKA_PASSWORD" not in Path(f"/proc/{pid}/environ").read_bytes()
    finally:
        line.clean(settings)


def test_a_killed_program_is_started_again(running: Settings) -> None:
    before = pids(running)["one"]
    time.sleep(1.2)  # it must have settled, else it counts as one that does not start
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while pids(running)["one"] in (0, before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert pids(running)["one"] not in (0, before)


def test_stop_start_restart_of_one_part(running: Settings) -> None:
    before = pids(running)
    line.stop_part(running, "one")
    assert {part.name: part.state for part in line.parts(running)}["one"] == "STOPPED"
    line.start_part(running, "one")
    line.restart(running, "two")
    after = pids(running)
    assert not set(before.values()) & set(after.values())
    assert all(alive(pid) for pid in after.values())


def test_down_leaves_nothing(running: Settings) -> None:
    supervisord = int((running.home / "run" / "supervisord.pid").read_text())
    before = [supervisord, *pids(running).values()]
    line.down(running)
    assert not [pid for pid in before if alive(pid)]
    line.down(running)


def ending(running: Settings) -> dict[str, int]:
    """Its supervisor is ending, and a slow program holds it up. What ran, by name."""
    pid_file = running.home / "run" / "supervisord.pid"
    slow = Program(name="slow", command=("/bin/sh", "-c", "trap '' TERM; sleep 2"), folder=running.folder)
    supervision.write_conf(running, [sleeper(running, "one"), slow])
    supervision.adopt(running)
    supervision.start(running, ["slow"])
    before = pids(running)
    time.sleep(0.2)  # until the shell has set its trap
    os.kill(int(pid_file.read_text()), signal.SIGTERM)
    while supervision.is_running(running):
        time.sleep(0.01)
    assert pid_file.exists() and alive(before["slow"])
    return before


def test_down_waits_for_a_supervisor_that_is_ending_already(running: Settings) -> None:
    before = ending(running)
    assert line.parts(running) == []
    line.down(running)
    assert not (running.home / "run" / "supervisord.pid").exists()
    assert not any(alive(pid) for pid in before.values())


def test_up_waits_for_a_supervisor_that_is_ending(running: Settings) -> None:
    before = ending(running)
    supervision.let_end(running)
    assert not (running.home / "run" / "supervisord.pid").exists()
    assert not any(alive(pid) for pid in before.values())
    supervision.let_end(running)  # nobody answers: nothing to wait for


def test_down_ends_what_a_killed_supervisor_left(running: Settings) -> None:
    before = list(pids(running).values())
    time.sleep(0.3)
    os.kill(int((running.home / "run" / "supervisord.pid").read_text()), signal.SIGKILL)
    deadline = time.monotonic() + 5
    while supervision.is_running(running) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(alive(pid) for pid in before)
    line.down(running)
    assert not [pid for pid in before if alive(pid)]


def test_a_socket_path_that_is_too_long_is_replaced_and_remembered(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    settings = Settings.load(folder)
    (settings.home / "run").mkdir(parents=True)
    socket = supervision.socket_path(settings)
    assert len(str(socket)) < supervision.LONGEST_SOCKET
    assert supervision.socket_path(settings) == socket
    line.clean(settings)
    assert not socket.parent.exists()
