"""Keeps the city's departments committing: inserts, updates and deletes at a rate given."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg2

from examples.city.departments import DEPARTMENTS, Department
from examples.city.draw import DEFAULT_SEED, Draw
from examples.city.session import Address, connect
from examples.city.statements import Statement, Statements
from examples.city.table import Table

log = logging.getLogger("city-load")

#: Of all changes. Above the ceiling, deletes take from inserts what keeps the city level.
MIX = {"insert": 0.5, "update": 0.4, "delete": 0.1}
LEVEL = {"insert": 0.3, "update": 0.4, "delete": 0.3}
CEILING = 2_000_000
#: Rows of a transaction where nobody asked for a number: mostly small, now and then a batch.
_SIZES = np.array([1, 1, 1, 1, 2, 3, 5, 10, 20, 56])
#: More commits a second than this, of each department, are not made: transactions grow instead.
_COMMITS = 150
#: A source that was away does not make up for more than this.
_DEBT_SECONDS = 2.0
_BATCH, _LARGEST = 500, 2000


@dataclass
class Loaded:
    """What was committed: changes by kind and by resource, transactions, seconds."""

    changes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MIX, 0))
    resources: dict[str, int] = field(default_factory=dict)
    commits: int = 0
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.changes.values())

    def add(self, statement: Statement, rows: int) -> None:
        self.changes[statement.kind] += rows
        self.resources[statement.resource] = self.resources.get(statement.resource, 0) + rows


def load(
    rate: float,
    address: Address,
    *,
    seconds: float | None = None,
    seed: int = DEFAULT_SEED,
    transaction_rows: int | None = None,
    ceiling: int = CEILING,
    stop: threading.Event | None = None,
    departments: tuple[Department, ...] = DEPARTMENTS,
    sessions: int = 1,
) -> Loaded:
    """Commit `rate` changes a second in total, until `seconds` are over or `stop` is set.

    transaction_rows: exactly so many rows a commit (1: one statement, committed by itself);
    None: sizes as they come. sessions: of each department, which divide its tables among them: a
    thousand commits a second want more than one, since each waits for the disk. A server that is
    away is waited for. The same seed and the same state of the tables give the same statements;
    only their times differ.
    """
    stop, began = stop or threading.Event(), time.monotonic()
    groups = [
        (department, tables)
        for department in departments
        for number in range(sessions)
        if (tables := department.tables[number::sessions])
    ]
    whole_share = sum(table.share for _, tables in groups for table in tables)
    workers = []
    for department, tables in groups:
        part = sum(table.share for table in tables) / whole_share
        plan = _Plan(
            tables, address(department.database), rate * part, int(ceiling * part), transaction_rows, seed
        )
        workers.append(_Worker(plan, stop))
    for worker in workers:
        worker.start()
    try:
        stop.wait(seconds)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    whole = Loaded(seconds=time.monotonic() - began)
    for worker in workers:
        if worker.failure is not None:
            raise worker.failure
        whole.commits += worker.loaded.commits
        whole.resources |= worker.loaded.resources
        for kind, rows in worker.loaded.changes.items():
            whole.changes[kind] += rows
    return whole


@dataclass(frozen=True)
class _Plan:
    """What one session does. rate and ceiling are its own."""

    tables: tuple[Table, ...]
    url: str
    rate: float
    ceiling: int
    transaction_rows: int | None
    seed: int


class _Worker(threading.Thread):
    """One session of one department."""

    def __init__(self, plan: _Plan, stop: threading.Event) -> None:
        super().__init__(name=f"load {plan.tables[0].resource}", daemon=True)
        self.loaded = Loaded()
        self.failure: BaseException | None = None
        self._plan, self._stopping = plan, stop
        self._random = np.random.default_rng([plan.seed, len(plan.tables), plan.tables[0].share])
        self._owed = dict.fromkeys(MIX, 0.0)

    def run(self) -> None:
        wait = 0.5
        try:
            while not self._stopping.is_set():
                try:
                    with connect(self._plan.url) as connection:
                        wait = 0.5
                        self._commit_until_stopped(connection)
                except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                    log.warning("%s: away, again in %.1f s: %s", self.name, wait, str(error).strip())
                    self._stopping.wait(wait)
                    wait = min(wait * 2, 10.0)
        except BaseException as error:  # handed to the caller of load(), which joins this thread
            self.failure = error
            self._stopping.set()

    def _commit_until_stopped(self, connection: Any) -> None:
        connection.autocommit = True
        with connection.cursor() as cursor:
            draw, rate = Draw(self._plan.seed), self._plan.rate
            tables = [Statements(table, draw, cursor) for table in self._plan.tables]
            began, done, size = time.monotonic(), 0, self._size()
            while not self._stopping.is_set():
                due = (time.monotonic() - began) * rate - done
                if due < size:
                    self._stopping.wait(max((size - due) / rate, 0.0005))
                    continue
                if due > size + rate * _DEBT_SECONDS:
                    began += due / rate - _DEBT_SECONDS
                if self._plan.transaction_rows is None:
                    size = max(size, min(int(due) // 2, _LARGEST))  # slow commits: larger ones
                if statements := self._transaction(tables, size):
                    self._commit(connection, cursor, statements)
                done += size
                size = self._size()

    def _size(self) -> int:
        if self._plan.transaction_rows is not None:
            return self._plan.transaction_rows
        scale = max(1.0, self._plan.rate / (_COMMITS * _SIZES.mean()))
        return int(self._random.choice(_SIZES) * scale)

    def _transaction(self, tables: list[Statements], size: int) -> list[Statement]:
        """`size` rows in statements whose kinds keep, over time, to the mix asked for."""
        mix = LEVEL if sum(table.count for table in tables) > self._plan.ceiling else MIX
        for kind, share in mix.items():
            self._owed[kind] += share * size
        statements = []
        while size:
            kind = max(self._owed, key=lambda name: self._owed[name])
            rows = min(size, max(1, int(self._owed[kind])), _BATCH)
            table = self._table(tables, kind, rows)
            if table is None and kind == "insert":
                break  # nothing but a full log
            if table is None:
                self._owed[kind] -= rows
                self._owed["insert"] += rows
                continue
            statements.append(getattr(table, kind)(rows))
            self._owed[kind] -= rows
            size -= rows
        return statements

    def _table(self, tables: list[Statements], kind: str, rows: int) -> Statements | None:
        """A table that can take the statement; the larger the likelier."""
        able = [table for table in tables if self._fits(table, kind, rows)]
        if not able:
            return None
        weights = np.cumsum([table.table.share for table in able])
        return able[int(np.searchsorted(weights, self._random.random() * weights[-1], side="right"))]

    def _fits(self, table: Statements, kind: str, rows: int) -> bool:
        if kind == "insert":
            # A log without a key can only grow: up to a point.
            return bool(table.table.key) or table.count < self._plan.ceiling // 4
        if kind == "update":
            return table.table.revise is not None and table.next - table.first >= 2 * rows
        return table.deletable >= rows

    def _commit(self, connection: Any, cursor: Any, statements: list[Statement]) -> None:
        if len(statements) > 1:
            connection.autocommit = False
        done = []
        for statement in statements:
            cursor.execute(statement.sql)
            done.append(cursor.rowcount)
        if len(statements) > 1:
            connection.commit()
            connection.autocommit = True
        for statement, rows in zip(statements, done, strict=True):
            self.loaded.add(statement, rows)
        self.loaded.commits += 1
