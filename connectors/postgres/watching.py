"""What is looked at in the source every few seconds while its stream is read."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import psycopg2

from connectors import gauges
from connectors.postgres import setup
from connectors.postgres.anew import read_anew
from connectors.postgres.catalog import Table
from connectors.postgres.session import Connection
from connectors.state import State
from datarail.contract import Contract
from datarail.errors import RailError, Terminal, Transient

log = logging.getLogger("connector")

_SECONDS = 5


class Watching:
    """tables: by resource, those that are captured. Of a table in trouble `break_off` is told, once."""

    def __init__(
        self,
        connection: Connection,
        contract: Contract,
        names: setup.Names,
        state: State,
        tables: Mapping[str, Table],
        break_off: Callable[[str, RailError], None],
    ) -> None:
        self._connection = connection
        self._contract = contract
        self._names = names
        self._state = state
        self._tables = dict(tables)
        self._break_off = break_off
        self._keyless: set[str] = set()
        self._watched = 0.0

    def look(self) -> None:
        """Look, if it is time to. Raises Transient where starting over mends what was found."""
        now = time.monotonic()
        if now - self._watched > _SECONDS:
            self._watched = now
            slot = setup.find_slot(self._connection, self._names.slot)
            gauges.SOURCE_LAG.labels(self._contract.station).set(slot.held if slot else 0)
            self._let_go_of_keyless()
            self._ask_for_unpublished()

    def _let_go_of_keyless(self) -> None:
        """A table that lost its key would make the department's own updates fail: let it go."""
        station = self._contract.station
        by_name = {(r.schema_name, r.table_name): name for name, r in self._contract.resources.items()}
        for schema, table in setup.keyless(self._connection, self._names):
            name = by_name.get((schema, table), table)
            if name in self._keyless:
                continue
            self._keyless.add(name)
            self._tables.pop(name, None)
            error = Terminal(
                f"{schema}.{table} has lost its primary key, so the department's own updates of it fail "
                "while they are published: it is taken out of the publication",
                part=station,
                remedy="restore the key, then restart the station: the table is read again",
            )
            read_anew(self._state, name)
            try:
                setup.unpublish(self._connection, self._names, schema, table)
            except psycopg2.errors.InsufficientPrivilege:
                log.error(
                    "%s: we may not: let the DBA run %s",
                    name,
                    setup.unpublish_sql(self._names, schema, table),
                )
            # Told last: until the table is out of the publication the department's updates fail.
            self._break_off(name, error)

    def _ask_for_unpublished(self) -> None:
        """A table made anew, or another that took its name, is not published: its changes go by."""
        keyed = setup.keyed(self._contract, self._tables)
        for name in setup.unpublished(self._connection, self._names, keyed):
            table = self._tables.pop(name).sql
            if self._contract.source.managed:
                # The start publishes it, and notes before that it must be read anew.
                raise Transient(f"{name}: {table} is not published any more: starting over to read it anew")
            read_anew(self._state, name)
            statements = setup.publication_sql(self._connection, self._names, {name: keyed[name]})
            error = Terminal(
                f"{table} is not published any more: was it made anew? Its changes are not captured",
                part=self._contract.station,
                remedy=f"let the DBA run: {'; '.join(statements)}; then restart the station: it is read anew",
            )
            self._break_off(name, error)
