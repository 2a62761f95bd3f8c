"""One PostgreSQL station from start to stop: find the place, snapshot, stream."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import psycopg2
from kafka.errors import KafkaError

from connectors import gauges, log_topics
from connectors.postgres import setup
from connectors.postgres.anew import leave_out, read_anew
from connectors.postgres.capture import Capture
from connectors.postgres.catalog import Table, check_key, check_published, read_table
from connectors.postgres.epochs import Standing, settle
from connectors.postgres.loading import Loading, chunks_of
from connectors.postgres.locating import locate
from connectors.postgres.overlap import Chunk, Key, Overlap
from connectors.postgres.relations import Wanted
from connectors.postgres.session import Connection, connect, connect_replication, explain
from connectors.postgres.streaming import Streaming
from connectors.postgres.watching import Watching
from connectors.shipper import Shipper
from connectors.state import State, reached_of, reached_record
from connectors.train_builder import Reached, TrainBuilder
from datarail import metrics
from datarail.contract import Contract
from datarail.contract_file import expand, read_secret
from datarail.errors import RailError, Terminal, Transient
from datarail.settings import Settings

log = logging.getLogger("connector")


class Stopped(Exception):
    """We were asked to end."""


class Paused(Exception):
    """We were asked to rest: the source is not read, its slot is kept."""


@dataclass
class Run:
    """One attempt: everything that is opened is closed with it."""

    settings: Settings
    contract: Contract
    stop: threading.Event
    state: State = field(init=False)
    broken: dict[str, str] = field(default_factory=dict)
    _refreshed: float = 0.0

    def __post_init__(self) -> None:
        self.url = expand(self.contract.source.url)
        self.password = read_secret(self.contract.source.password, self.settings.folder)
        self.names = setup.Names.of(self.contract)
        self.station = self.contract.station

    def run(self) -> None:
        """Raises Stopped or Paused when asked to; Transient and Terminal as things are."""
        try:
            with ExitStack() as opened:
                self._run(opened)
        except psycopg2.Error as error:
            raise explain(error, self.url) from error
        except KafkaError as error:
            raise log_topics.away(self.settings, error) from error

    def _run(self, opened: ExitStack) -> None:
        # Closed in the opposite order: the connection holds the lock that keeps others out, so
        # it goes only when the shipper has ended.
        partitions = log_topics.ensure(self.settings, self.station)
        self.state = State(self.settings, self.station)
        opened.callback(self.state.close)
        self._check()
        connection = connect(self.url, self.password, name=f"datarail {self.station}")
        opened.callback(connection.close)
        self._alone(connection)
        tables = self._tables(connection)
        standing = self._settle(connection, tables)
        noted = reached_of(self.state.get("reached"), partitions)
        reached = log_topics.read_reached(self.settings, self.station, noted)
        shipper = Shipper(self.settings, self.station, partitions)
        opened.callback(shipper.close)
        self._load(standing, tables, reached, shipper)
        leave_out(self.state, self.contract)
        self._stream(connection, standing, tables, reached, shipper)

    def held(self) -> int:
        """Bytes of log the source keeps for the slot."""
        connection = connect(self.url, self.password, name=f"datarail {self.station}")
        try:
            slot = setup.find_slot(connection, self.names.slot)
            return slot.held if slot else 0
        finally:
            connection.close()

    def _check(self) -> None:
        if self.stop.is_set():
            raise Stopped
        now = time.monotonic()
        if now - self._refreshed > 1.0:
            self._refreshed = now
            self.state.refresh()
        if (self.state.get("control") or {}).get("paused"):
            raise Paused

    def _alone(self, connection: Connection) -> None:
        # Two connectors of one station would number the same changes twice.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_try_advisory_lock(hashtext('datarail'), hashtext(%s))", (self.names.slot,)
            )
            if not (cursor.fetchone() or (False,))[0]:
                raise Transient("another connector of this station still runs", part=self.station)

    def _tables(self, connection: Connection) -> dict[str, Table]:
        """The contract's tables that can be read; one that cannot does not stop the others."""
        tables: dict[str, Table] = {}
        for name, resource in self.contract.resources.items():
            try:
                table = read_table(connection, resource.schema_name, resource.table_name)
                check_key(name, resource.key, table)
                check_published(name, table, connection.server_version)
            except Terminal as error:
                self._break(name, error)
                continue
            tables[name] = table
            gauges.state(self.station, name, "waiting")
        if not tables:
            raise Terminal(
                "none of the contract's tables can be read: " + "; ".join(self.broken.values()),
                part=self.station,
                remedy="mend the contract or the source",
            )
        return tables

    def _break(self, resource: str, error: RailError) -> None:
        self.broken[resource] = str(error)
        gauges.state(self.station, resource, "broken")
        metrics.ERRORS.labels("captured", "resource").inc()
        log.error("%s: %s", resource, error)

    def _settle(self, connection: Connection, tables: dict[str, Table]) -> Standing:
        keyed = setup.keyed(self.contract, tables)
        fresh = setup.find_slot(connection, self.names.slot) is None
        for name in setup.unpublished(connection, self.names, keyed):
            if read_anew(self.state, name):
                log.warning("%s: %s was not published for a while: it is read anew", name, tables[name].sql)
        changed = setup.publish(connection, self.names, self.contract.source.managed, keyed)
        if changed and not fresh:
            log.info("tables were added to the publication; waiting for transactions that began before")
            setup.settled(connection, self._pause_a_little)
        return settle(self.contract, self.state, self.names, connection, self._replication)

    def _pause_a_little(self) -> None:
        self._check()
        time.sleep(0.1)

    def _replication(self) -> Connection:
        return connect_replication(self.url, self.password, name=f"datarail {self.station}")

    def _load(
        self, standing: Standing, tables: dict[str, Table], reached: list[Reached], shipper: Shipper
    ) -> None:
        pending = []
        for name in tables:
            record = self.state.get(f"snapshot/{name}")
            if record is None or record["epoch"] != standing.epoch:
                delivered = [r.last.position for r in reached if r.last and r.last.epoch == standing.epoch]
                floor = max([standing.floor, *delivered])
                truncate = standing.again or record is not None
                self._forget_chunks(f"{name}/")
                self.state.put(
                    f"snapshot/{name}",
                    {"epoch": standing.epoch, "floor": floor, "state": "running", "truncate": truncate},
                )
                pending.append(name)
            elif record["state"] != "done":
                pending.append(name)
        if not pending:
            return
        index = int((self.state.get("reached") or {}).get("index", 0))
        self.state.put("reached", {**reached_record(reached), "index": index})
        loading = Loading(
            self.settings,
            self.contract,
            self.state,
            shipper,
            reached,
            lambda: connect(self.url, self.password, name=f"datarail {self.station} snapshot"),
            self.url,
            self._check,
        )
        try:
            for name in pending:
                try:
                    loading.load(name, tables[name])
                except Terminal as error:
                    # One table that cannot be read does not stop the others.
                    shipper.drain(self._check)
                    self._break(name, error)
        finally:
            loading.close()

    def _forget_chunks(self, begin: str) -> None:
        """Those whose name, <resource>/<n>, begins so."""
        prefix = f"chunk/{begin}"
        self.state.put_all({prefix + rest: None for rest, _ in self.state.find(prefix)})

    def _stream(
        self,
        connection: Connection,
        standing: Standing,
        tables: dict[str, Table],
        reached: list[Reached],
        shipper: Shipper,
    ) -> None:
        captured = {name: table for name, table in tables.items() if name not in self.broken}
        chunks: dict[str, list[Chunk]] = {name: chunks_of(self.state, name) for name in tables}

        def place(resource: str, bounds: Sequence[Key], keys: Sequence[Key]) -> list[int]:
            return locate(connection, tables[resource], self.contract.resources[resource].key, bounds, keys)

        overlap = Overlap(chunks, place)
        builder = TrainBuilder(self.station, standing.epoch, reached, overlap.keep if overlap.until else None)
        wanted = {
            (resource.schema_name, resource.table_name): Wanted(
                name, tuple(resource.key), tuple(resource.items)
            )
            for name, resource in self.contract.resources.items()
        }
        capture = Capture(builder, wanted, standing.xid, self._notice)
        watching = Watching(connection, self.contract, self.names, self.state, captured, self._break)
        replication = self._replication()
        streaming = Streaming(
            replication,
            self.url,
            self.names.slot,
            setup.existing_publications(connection, self.names),
            capture,
            builder,
            shipper,
            overlap,
            self._passed,
            partial(self._watch, watching),
        )
        for name in captured:
            gauges.state(self.station, name, "streaming")
        log.info("streaming from slot %s, epoch %d", self.names.slot, standing.epoch)
        try:
            streaming.run()
        except (Stopped, Paused):
            streaming.finish()
            raise
        finally:
            replication.close()

    def _passed(self, reached: list[Reached]) -> None:
        # First how far we are: what the filter took out must not come again when the chunks are gone.
        index = int((self.state.get("reached") or {}).get("index", 0))
        self.state.put("reached", {**reached_record(reached), "index": index})
        self._forget_chunks("")
        log.info("the stream has passed the snapshot")

    def _watch(self, watching: Watching) -> None:
        self._check()
        watching.look()

    def _notice(self, resource: str, text: str) -> None:
        log.warning("%s: %s", resource, text)


def run(settings: Settings, contract: Contract, stop: threading.Event) -> None:
    """Run a station until `stop` is set. Transient errors are waited out here; Terminal ones raised."""
    patience = 1.0
    while not stop.is_set():
        attempt = Run(settings, contract, stop)
        began = time.monotonic()
        try:
            attempt.run()
        except Stopped:
            return
        except Paused:
            _rest(attempt)
            patience = 1.0
        except Transient as error:
            metrics.ERRORS.labels("captured", "transient").inc()
            if time.monotonic() - began > 60:
                patience = 1.0
            log.warning("%s; trying again in %.0f s", error, patience)
            stop.wait(patience)
            patience = min(30.0, patience * 2)


def _rest(attempt: Run) -> None:
    log.info("paused")
    for name in attempt.contract.resources:
        gauges.state(attempt.station, name, "paused")
    state = State(attempt.settings, attempt.station)
    looked = 0.0
    try:
        while not attempt.stop.is_set() and (state.get("control") or {}).get("paused"):
            if time.monotonic() - looked > 30:
                looked = time.monotonic()
                gauges.SOURCE_LAG.labels(attempt.station).set(attempt.held())
            attempt.stop.wait(0.5)
            state.refresh()
    except Transient as error:
        log.warning("%s", error)
    finally:
        state.close()
    log.info("resumed")
