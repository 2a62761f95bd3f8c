"""A line for benchmarks: a working folder, servers, ports and one station of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
import psycopg2
import yaml

from bench.hops import Hops
from bench.say import say
from connectors import control
from datarail.errors import Terminal
from datarail.settings import Settings
from deploy import line
from deploy.embedded import ports
from deploy.embedded.postgres_setup import dsn
from examples.city.wide import SHAPES, WideTable, contract_text, make_resources
from examples.city.wide_rows import Shape

REPOSITORY = Path(__file__).parent.parent
DEPARTMENT, SYSTEM = "bench", "wide"
STATION = f"{DEPARTMENT}.{SYSTEM}"

#: What is counted of each shape: every update of the load moves some of these.
_INDICATORS: dict[Shape, dict[str, Any]] = {
    "resident": {"title": "户籍人口", "by": ["xzqh", "xb"]},
    "firm": {"title": "注册资本", "measure": "sum", "item": "regcap", "by": ["domdistrict", "regstate"]},
    "event": {"title": "网格事件", "by": ["wgbm"], "where": {"zt": ["处理中", "挂起", "办结"]}},
}


class Rail:
    """Servers up, tables made, parts running, the station paused: nothing has been captured yet.

    parts: "all"; "connector": streams and sinks are stopped again; "none": servers alone.
    partitions: of every topic, the line's own number without.

    settings and source are addresses; tables the resources. Use as a context manager: what was
    started is stopped and removed at the end, whatever happens.
    """

    def __init__(
        self,
        folder: Path,
        resources: int,
        rows: int,
        shapes: Sequence[Shape] = SHAPES,
        *,
        parts: str = "all",
        partitions: int | None = None,
    ) -> None:
        os.environ.setdefault("DATARAIL_SOFTWARE", str(REPOSITORY / ".datarail" / "software"))
        self.folder = folder
        self.rows = rows
        sweep(folder)
        (folder / "stations").mkdir(parents=True)
        if partitions:
            (folder / "datarail.yaml").write_text(f"partitions: {partitions}\n")
        self.settings = Settings.load(folder)
        self._try(lambda: self._open(resources, rows, shapes, parts))

    def __enter__(self) -> Rail:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        sweep(self.folder)

    def pause(self) -> None:
        """Stop reading the source; returns once the slot is free."""
        control.pause(self.settings, STATION)
        self.wait_slot("NOT bool_or(active)", "free")

    def resume(self) -> float:
        """Go on; returns the moment (time.time()) from which the source sends again."""
        control.resume(self.settings, STATION)
        return self.wait_slot("bool_or(active)", "taken up")

    def connect(self) -> Any:
        """A session with the source, autocommit."""
        connection = psycopg2.connect(self.source)
        connection.autocommit = True
        return connection

    def begin(self) -> float:
        """Let the station begin; returns the moment (time.time()) its slot was made, just before
        the snapshot's first row is read."""
        control.resume(self.settings, STATION)
        return self.wait_slot("count(*) > 0", "made")

    def wait_slot(self, condition: str, word: str, seconds: float = 60.0) -> float:
        """Wait for a condition over the database's slots; returns the moment it came true."""
        deadline = time.monotonic() + seconds
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            while time.monotonic() < deadline:
                cursor.execute(f"SELECT {condition} FROM pg_replication_slots WHERE slot_type = 'logical'")
                if (cursor.fetchone() or (False,))[0]:
                    return time.time()
                time.sleep(0.01)
        raise Terminal(f"the slot is not {word} after {seconds:.0f} s", part="bench")

    def start_rest(self) -> None:
        """Streams and sinks, of a line that had its connector alone."""
        for name in self._rest():
            line.start_part(self.settings, name)

    def settle(self) -> None:
        """Wait until all that was captured has landed, half an hour at most."""
        with closing(Hops(self.settings, STATION)) as hops:
            hops.settle(seconds=1800)

    def balance(self, seconds: int = 180) -> None:
        """Audit, and say so; raises Terminal when it does not balance."""
        captured = sum(each["captured"] for each in self.audit(seconds)["resources"])
        say(f"the audit balances: {captured:,} changes captured, nothing missing, nothing twice")

    def audit(self, seconds: int = 180) -> dict[str, Any]:
        """What `datarail audit --json` says; raises Terminal when it does not balance."""
        done = subprocess.run(
            [
                *(sys.executable, "-c", "from datarail.cli import app; app()"),
                *("audit", "--json", "--timeout", str(seconds)),
            ],
            cwd=self.folder,
            env={**os.environ, "DATARAIL_FOLDER": str(self.folder), "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            timeout=seconds + 300,
        )
        try:
            document: dict[str, Any] = orjson.loads(done.stdout)
        except orjson.JSONDecodeError:
            raise Terminal(f"the audit failed: {done.stderr.decode()[-800:]}", part="bench") from None
        if not document["balanced"]:
            wrong = [each for each in document["resources"] if not each["balanced"]]
            raise Terminal(f"the audit does not balance: {wrong[:3]}", part="bench")
        return document

    def _try(self, act: Any) -> None:
        try:
            act()
        except BaseException:
            self.close()
            raise

    def _open(self, resources: int, rows: int, shapes: Sequence[Shape], parts: str) -> None:
        ports.apart(self.settings)
        self.settings = line.up(Settings.load(self.folder), only_servers=True, progress=say)
        with closing(psycopg2.connect(dsn(self.settings, "postgres"))) as admin, admin.cursor() as cursor:
            admin.autocommit = True
            cursor.execute("CREATE DATABASE bench")
        self.source = dsn(self.settings, "bench")
        say(f"{resources} tables of {rows:,} rows …")
        self.tables = make_resources(self.source, resources, rows, shapes=shapes)
        secret = self.settings.home / "secrets" / "bench"
        secret.write_text(unquote(urlsplit(self.source).password or ""))
        secret.chmod(0o600)
        self._write_contract()
        if parts == "none":
            return
        control.pause(self.settings, STATION)
        line.up(self.settings, progress=say)
        self._wait_ready()
        if parts == "connector":
            for name in self._rest():
                line.stop_part(self.settings, name)

    def _rest(self) -> list[str]:
        names = [part.name for part in line.parts(self.settings)]
        return [name for name in names if name.startswith("sink-") or name == "streams"]

    def _write_contract(self) -> None:
        text = contract_text(
            self.source,
            self.tables,
            department=DEPARTMENT,
            system=SYSTEM,
            password_file=".datarail/secrets/bench",
        )
        (self.folder / "stations" / f"{STATION}.yaml").write_text(text, encoding="utf-8")
        (self.folder / "indicators.yaml").write_text(indicators_text(self.tables), encoding="utf-8")

    def _wait_ready(self, seconds: float = 120.0) -> None:
        """A Faust worker takes some ten seconds to get its partitions; that is no part of a rate."""
        deadline = time.monotonic() + seconds
        with closing(Hops(self.settings, STATION)) as hops:
            while waiting := hops.unready():
                if time.monotonic() > deadline:
                    raise Terminal(f"{', '.join(waiting)}: no partitions after {seconds:.0f} s", part="bench")
                time.sleep(0.3)


def indicators_text(tables: Sequence[WideTable]) -> str:
    """indicators.yaml: one indicator over each table."""
    indicators = {
        f"of_{table.name}": {"station": STATION, "resource": table.name, **_INDICATORS[table.shape]}
        for table in tables
    }
    return yaml.safe_dump({"indicators": indicators}, allow_unicode=True, sort_keys=False)


def sweep(folder: Path) -> None:
    """Stop the line of a folder, also one that a killed benchmark left, and remove the folder."""
    if folder.exists():
        line.clean(Settings.load(folder), say)
        shutil.rmtree(folder, ignore_errors=True)
