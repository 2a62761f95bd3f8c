"""PostgreSQL for the sample departments: logical decoding on, a password, loopback only.

PostgreSQL refuses to run as root. Then it runs as `nobody`, and where nobody cannot reach the
working folder (a clone under a home of mode 0700) its programs and data lie in a folder of their
own under /var/tmp, noted in .datarail/postgres.json.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from datarail.errors import Terminal, Transient
from datarail.settings import Settings, embedded_ports
from deploy.embedded.install import Software
from deploy.program import Program

UNPRIVILEGED = "nobody"

OPTIONS = {
    "listen_addresses": "'127.0.0.1'",
    # No socket file: its path may be longer than the 107 bytes a system allows.
    "unix_socket_directories": "''",
    "wal_level": "logical",
    "max_replication_slots": 32,
    "max_wal_senders": 32,
    # A slot that nobody reads must not fill the department's disk.
    "max_slot_wal_keep_size": "'4GB'",
    "max_wal_size": "'1GB'",
    "min_wal_size": "'80MB'",
    "shared_buffers": "'256MB'",
    "max_connections": 100,
    "password_encryption": "'scram-sha-256'",
    "logging_collector": "off",
    "log_line_prefix": "'%m [%p] %u@%d '",
    "log_min_messages": "'warning'",
    "log_checkpoints": "off",
    "timezone": "'Asia/Shanghai'",
    "log_timezone": "'UTC'",
    "max_worker_processes": 4,
    "autovacuum_max_workers": 1,
}


@dataclass(frozen=True)
class Place:
    """Where PostgreSQL's programs and data are, and as whom it runs (None: as we do)."""

    software: Path
    data: Path
    user: str | None


def configuration(port: int) -> str:
    """postgresql.conf, whole."""
    return "".join(f"{name} = {value}\n" for name, value in {"port": port, **OPTIONS}.items())


def dsn(settings: Settings, database: str = "postgres") -> str:
    """The address of a database of the embedded server, password and all: never print it."""
    password = quote(_password(settings))
    return (
        f"postgresql://postgres:{password}@127.0.0.1:{embedded_ports(settings.folder)['postgres']}/{database}"
    )


def prepare(settings: Settings, ports: Mapping[str, int], software: Software) -> Program:
    """Make the database cluster at the first start, write its configuration; returns the program."""
    place = _place(settings, software)
    if not (place.data / "PG_VERSION").exists():
        _create(settings, place)
    (place.data / "postgresql.conf").write_text(configuration(ports["postgres"]))
    return Program(
        name="postgres",
        command=(str(place.software / "bin" / "postgres"), "-D", str(place.data)),
        folder=place.data,
        user=place.user,
        stop_signal="INT",  # fast shutdown: TERM would wait for every client to leave
        patience=30,
    )


def check(settings: Settings) -> None:
    """Connect with the password; raises Transient while that fails."""
    import psycopg2

    try:
        psycopg2.connect(dsn(settings), connect_timeout=3).close()
    except psycopg2.OperationalError as error:
        raise Transient(f"no answer: {str(error).strip()}", part="postgres") from None


def data_folder(settings: Settings) -> Path:
    """Where the data is, whether it was ever created or not."""
    noted = settings.home / "postgres.json"
    if noted.exists():
        return Path(json.loads(noted.read_text())["data"])
    return settings.home / "data" / "postgres"


def elsewhere(settings: Settings) -> Path | None:
    """The folder outside the working folder, where one had to be made."""
    noted = settings.home / "postgres.json"
    return Path(json.loads(noted.read_text())["root"]) if noted.exists() else None


def _password(settings: Settings) -> str:
    file = settings.home / "secrets" / "postgres"
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(secrets.token_urlsafe(24))
    return file.read_text().strip()


def _place(settings: Settings, software: Software) -> Place:
    data = settings.home / "data" / "postgres"
    if os.geteuid() != 0:
        return Place(software.postgres, data, None)
    root = elsewhere(settings)
    if root is None:
        data.parent.mkdir(parents=True, exist_ok=True)
        if _reaches(software.postgres / "bin" / "postgres", "-x") and _reaches(data.parent, "-x"):
            return Place(software.postgres, data, UNPRIVILEGED)
        root = Path(tempfile.mkdtemp(prefix="datarail-", dir="/var/tmp"))
        root.chmod(0o755)
        note = {"root": str(root), "data": str(root / "data")}
        (settings.home / "postgres.json").write_text(json.dumps(note))
    programs = root / software.postgres.parent.name / software.postgres.name
    if not (programs / "bin" / "postgres").exists():
        libraries = software.postgres.parent.with_name(software.postgres.parent.name + ".libs")
        shutil.copytree(software.postgres, programs, symlinks=True, dirs_exist_ok=True)
        if libraries.exists():  # the wheel's own libpq, found relative to the programs
            shutil.copytree(libraries, root / libraries.name, dirs_exist_ok=True)
    return Place(programs, root / "data", UNPRIVILEGED)


def _reaches(path: Path, how: str) -> bool:
    """Whether the unprivileged user reaches a path: the kernel is asked, ACLs and all."""
    return _run(["test", how, str(path)], UNPRIVILEGED).returncode == 0


def _run(command: list[str], user: str | None) -> subprocess.CompletedProcess[str]:
    """Run a command as a user (None: as we are) from a folder that everybody reaches."""
    if user is None:
        return subprocess.run(command, cwd="/", capture_output=True, text=True)
    entry = pwd.getpwnam(user)
    return subprocess.run(
        command,
        cwd="/",
        capture_output=True,
        text=True,
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
    )


def _create(settings: Settings, place: Place) -> None:
    if place.data.exists():  # a first start that was cut short
        shutil.rmtree(place.data)
    place.data.mkdir(mode=0o700, parents=True)
    if place.user:
        entry = pwd.getpwnam(place.user)
        os.chown(place.data, entry.pw_uid, entry.pw_gid)
    with tempfile.NamedTemporaryFile("w", dir="/tmp") as password:
        password.write(_password(settings))
        password.flush()
        if place.user:
            os.chown(password.name, pwd.getpwnam(place.user).pw_uid, -1)
        command = [str(place.software / "bin" / "initdb"), "-D", str(place.data), "-U", "postgres"]
        command += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += ["--auth=scram-sha-256", f"--pwfile={password.name}", "--no-instructions"]
        run = _run(command, place.user)
    if run.returncode:
        raise Terminal(f"initdb failed: {(run.stderr or run.stdout)[-800:]}", part="postgres")
