"""What a kind of source is to the rest: capture, probe, draft, detach, and the audit's reading."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import pyarrow as pa

from datarail.contract import Contract
from datarail.settings import Settings


@dataclass(slots=True, frozen=True)
class SourceRows:
    """A table as it stood. rows: columns key (utf8) and hash (int64), in no order; what they
    hold is defined in connectors.postgres.audit.

    items: the contract's items that the hashes are made of, in order.
    snapshot: which transactions it saw, as text `xmin:xmax:xip,…`; see `saw`.
    lsn: the log's position when the snapshot was taken: every change it saw commits below it.
    """

    rows: pa.Table
    items: tuple[str, ...]
    snapshot: str
    lsn: int

    def saw(self, xid: int) -> bool:
        """Whether the snapshot sees what the committed transaction xid (64 bits) wrote."""
        xmin, xmax, running = self.snapshot.split(":")
        if xid < int(xmin):
            return True
        return xid < int(xmax) and str(xid) not in running.split(",")


@dataclass(slots=True, frozen=True)
class Point:
    """One thing a probe looked at. good: as it should be; note: works, but should be known;
    missing: prevents attaching, `sql` (or `remedy`) mends it."""

    level: Literal["good", "note", "missing"]
    text: str
    remedy: str = ""
    sql: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class TableEstimate:
    """rows and bytes as the source's statistics have them."""

    table: str
    title: str
    key: tuple[str, ...]
    rows: int
    bytes: int


@dataclass(slots=True)
class Verdict:
    """Whether and how a source can be attached. snapshot_seconds: the first load, estimated."""

    source: str
    version: str = ""
    points: list[Point] = field(default_factory=list)
    tables: list[TableEstimate] = field(default_factory=list)
    snapshot_seconds: float = 0.0

    @property
    def attachable(self) -> bool:
        return bool(self.tables) and all(point.level != "missing" for point in self.points)

    @property
    def sql(self) -> list[str]:
        """What the DBA must run, in order."""
        return [statement for point in self.points for statement in point.sql]

    def document(self) -> dict[str, Any]:
        return {
            "attachable": self.attachable,
            **asdict(self),
            "rows": sum(table.rows for table in self.tables),
            "bytes": sum(table.bytes for table in self.tables),
            "sql": self.sql,
        }

    def lines(self) -> list[str]:
        """For people, one thing a line."""
        marks = {"good": "✓", "note": "·", "missing": "✗"}
        shown = [f"{self.source} · {self.version}"]
        shown += [
            f"{marks[point.level]} {point.text}" + (f" → {point.remedy}" if point.remedy else "")
            for point in self.points
        ]
        for table in self.tables:
            key = ", ".join(table.key) or "no key: inserts only"
            title = f" {table.title}" if table.title else ""
            shown.append(f"  {table.table}{title}: {table.rows:,} rows, {_size(table.bytes)}, key {key}")
        rows, size = sum(table.rows for table in self.tables), sum(table.bytes for table in self.tables)
        shown.append(f"{len(self.tables)} tables, {rows:,} rows, {_size(size)}; ")
        shown[-1] += f"the first load takes about {_span(self.snapshot_seconds)}"
        if self.sql:
            shown += ["The source's DBA must run:", *(f"  {statement}" for statement in self.sql)]
        shown.append("It can be attached." if self.attachable else "It cannot be attached yet.")
        return shown


class Kind(Protocol):
    """What a kind of source can do. schemes: of the URLs that name it."""

    name: str
    schemes: tuple[str, ...]

    def run(self, settings: Settings, contract: Contract, stop: threading.Event) -> None:
        """Capture until `stop` is set; raises Terminal."""
        ...

    def probe(self, url: str, password: str | None) -> Verdict:
        """Whether and how the source can be attached; raises Transient when it is away."""
        ...

    def draft(
        self,
        url: str,
        password: str | None,
        department: str,
        system: str,
        secret: Mapping[str, str] | None = None,
    ) -> str:
        """A contract in YAML, drafted from catalogue and samples. secret: where the password
        is, as the contract's source.password has it."""
        ...

    def detach(self, settings: Settings, contract: Contract) -> list[str]:
        """Drop what the station has in the source; idempotent."""
        ...

    def read_rows(self, settings: Settings, contract: Contract, resource: str) -> SourceRows:
        """Key and hash of every row at one snapshot, for the audit."""
        ...

    def wait_captured(self, settings: Settings, contract: Contract, lsn: int, seconds: float) -> bool:
        """Wait until all that committed below `lsn` is in Kafka; false when it is not in time."""
        ...


def _size(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
