"""Talking to the line's supervisor: starting it, asking it, ending it and all it started."""

from __future__ import annotations

import http.client
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import Faults, SupervisorTransport

from datarail.errors import Terminal
from datarail.settings import SECRETS, Settings
from deploy.orphans import MARK
from deploy.program import Program, supervisor_conf

#: A socket's path has at most 107 bytes; supervisord adds its pid while making it.
LONGEST_SOCKET = 90

UP = ("STARTING", "RUNNING", "BACKOFF")
#: It does not answer; or it answers every question that it is ending.
_NOT_THERE = (OSError, http.client.HTTPException, Fault)


def socket_path(settings: Settings) -> Path:
    """Where the supervisor listens: in the working folder, or where its path is too long, in /tmp."""
    wanted = settings.home / "run" / "supervisor.sock"
    if len(os.fsencode(wanted)) <= LONGEST_SOCKET:
        return wanted
    noted = settings.home / "run" / "socket"
    if not noted.exists() or not Path(noted.read_text()).parent.is_dir():
        noted.write_text(f"{tempfile.mkdtemp(prefix='datarail-', dir='/tmp')}/supervisor.sock")
    return Path(noted.read_text())


def write_conf(settings: Settings, programs: Iterable[Program]) -> Path:
    """Write supervisord.conf for these programs."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    text = supervisor_conf(
        programs, home=settings.home, socket=socket_path(settings), root=os.geteuid() == 0, files=files
    )
    conf = settings.home / "supervisord.conf"
    write_private(conf, text)  # a connector's environment may hold its password
    return conf


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, at no moment otherwise."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    fresh.rename(file)


def rpc(settings: Settings) -> Any:
    """The supervisor's XML-RPC, over its socket; every call raises OSError while it is not there."""
    transport = SupervisorTransport(None, None, serverurl=f"unix://{socket_path(settings)}")
    # The address is never dialled: the transport goes to the socket.
    return ServerProxy("http://127.0.0.1", transport=transport).supervisor


def is_running(settings: Settings) -> bool:
    """Whether this line's supervisor answers, and is not about to end."""
    if not (settings.home / "run").is_dir():
        return False
    try:
        return bool(rpc(settings).getState()["statename"] == "RUNNING")
    except _NOT_THERE:
        return False


def launch(settings: Settings, conf: Path) -> None:
    """Start supervisord in the background and wait until it answers."""
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(conf)]
    # Every process it starts would inherit a secret as it is now, and go before what comes later.
    inherited = {name: value for name, value in os.environ.items() if name not in SECRETS}
    run = subprocess.run(
        command,
        cwd=settings.folder,
        env=inherited | {MARK: str(settings.home)},
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise Terminal(f"did not start: {(run.stderr or run.stdout).strip()[-500:]}", part="supervisord")
    for _ in range(100):
        if is_running(settings):
            return
        time.sleep(0.05)
    raise Terminal("does not answer", part="supervisord", remedy=f"see {settings.home}/logs/supervisord.log")


def processes(settings: Settings) -> dict[str, dict[str, Any]]:
    """What the supervisor says of each program, by name; empty when it is not running."""
    try:
        return {info["name"]: info for info in rpc(settings).getAllProcessInfo()}
    except _NOT_THERE:
        return {}


def start(settings: Settings, names: Iterable[str]) -> None:
    """Start what is not up yet, without waiting."""
    for name in names:
        try:
            rpc(settings).startProcess(name, False)
        except Fault as fault:
            if fault.faultCode != Faults.ALREADY_STARTED:
                raise Terminal(str(fault.faultString), part=name) from None


def stop(settings: Settings, names: Iterable[str], timeout: float = 60) -> None:
    """Stop programs side by side and wait until each has ended."""
    names = list(names)
    _wait_entered(settings, names)
    for name in names:
        try:
            rpc(settings).stopProcess(name, False)
        except Fault as fault:
            if fault.faultCode not in (Faults.NOT_RUNNING, Faults.BAD_NAME):
                raise Terminal(str(fault.faultString), part=name) from None
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        known = processes(settings)
        if not any(known.get(name, {}).get("statename") in (*UP, "STOPPING") for name in names):
            return
        time.sleep(0.05)


def _wait_entered(settings: Settings, names: Iterable[str]) -> None:
    """Wait until just started processes have become their programs.

    Between fork and exec a child still has the supervisor's own signal handlers: a stop sent then
    is lost, and its patience waited out in vain.
    """
    known = processes(settings)
    for name in names:
        deadline = time.monotonic() + 2
        while _is_supervisor(known.get(name, {}).get("pid", 0)) and time.monotonic() < deadline:
            time.sleep(0.01)


def _is_supervisor(pid: int) -> bool:
    try:
        return b"supervisor.supervisord" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def adopt(settings: Settings) -> tuple[list[str], list[str], list[str]]:
    """Make the running supervisor take the conf as written; returns names added, changed, removed.

    What is changed is stopped and set up anew, what is gone is stopped; the rest is not touched.
    Nothing is started.
    """
    there = rpc(settings)
    (added, changed, removed) = there.reloadConfig()[0]
    stop(settings, [*changed, *removed])
    for name in (*changed, *removed):
        there.removeProcessGroup(name)
    for name in (*added, *changed):
        there.addProcessGroup(name)
    return added, changed, removed


def end(settings: Settings) -> None:
    """End the supervisor itself; its programs should be stopped before. One that is ending already, because
    it was told so by somebody else, is waited for."""
    try:
        rpc(settings).shutdown()
    except Fault as fault:
        if fault.faultCode != Faults.SHUTDOWN_STATE:
            raise Terminal(str(fault.faultString), part="supervisord") from None
    except (OSError, http.client.HTTPException):
        return
    _wait_ended(settings)


def let_end(settings: Settings) -> None:
    """Wait for a supervisor that is ending, because it was told so by somebody else."""
    try:
        rpc(settings).getState()
    except Fault:
        _wait_ended(settings)
    except (OSError, http.client.HTTPException):
        return


def _wait_ended(settings: Settings, seconds: float = 60) -> None:
    pid_file = settings.home / "run" / "supervisord.pid"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (is_running(settings) or pid_file.exists()):
        time.sleep(0.05)
