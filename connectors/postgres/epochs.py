"""Which log we read, and where its epoch began: rises when the log is another log (rule 1)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg2
import psycopg2.extras

from connectors.postgres.session import Connection, lost_log
from connectors.postgres.setup import Names, find_slot, slot_sql
from connectors.state import Record, State
from datarail.contract import Contract
from datarail.errors import Terminal

log = logging.getLogger("connector")


@dataclass(slots=True, frozen=True)
class Standing:
    """floor: the log position snapshots of this epoch stand at. again: tables were read in an
    epoch before, so a snapshot begins with a truncate. xid: a recent 64-bit transaction id."""

    epoch: int
    floor: int
    again: bool
    xid: int


def settle(
    contract: Contract,
    state: State,
    names: Names,
    connection: Connection,
    replication: Callable[[], Connection],
) -> Standing:
    """Find or make the slot, and the epoch that goes with it.

    Raises Terminal when changes were lost (the slot is gone) and nobody asked for a re-snapshot.
    """
    known = state.get("epoch")
    control = state.get("control") or {}
    log_connection = replication()
    try:
        system, timeline = _identify(log_connection)
        slot = find_slot(connection, names.slot)
        if control.get("resnapshot"):
            if slot is not None and contract.source.managed:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_drop_replication_slot(%s)", (names.slot,))
                slot = None
            known = {**known, "slot": None} if known else None
        if slot is None and known is not None and known["slot"]:
            raise lost_log(f"slot {names.slot} does not exist any more", contract.station)
        if slot is None:
            start = _create(contract, names, log_connection)
        else:
            start = slot.confirmed
    finally:
        log_connection.close()
    # One below: a commit record may begin at the very position, and must win over the snapshot.
    floor = start - 1
    xid = _xid(connection)
    log_now = {"system": system, "timeline": timeline, "slot": names.slot}
    if known is not None and all(known[name] == value for name, value in log_now.items()):
        return Standing(known["epoch"], known["floor"], known.get("again", False), xid)
    epoch, again = _next(contract, known, log_now)
    record: Record = {**log_now, "epoch": epoch, "floor": floor, "again": again}
    if known is not None and known["system"] == system and known["slot"] == names.slot:
        # Another timeline of the same database: its slot goes on, so nothing has to be read again.
        _carry_over(state, epoch)
    state.put_all({"epoch": record, "control": {**control, "resnapshot": False}})
    return Standing(epoch, floor, again, xid)


def _next(contract: Contract, known: Record | None, log_now: Record) -> tuple[int, bool]:
    if known is None:
        return 1, False
    changed = [name for name, value in log_now.items() if known[name] != value and known[name] is not None]
    log.warning(
        "%s: another log than before (%s): epoch %d",
        contract.station,
        ", ".join(changed) or "slot",
        known["epoch"] + 1,
    )
    return known["epoch"] + 1, True


def _carry_over(state: State, epoch: int) -> None:
    state.put_all(
        {f"snapshot/{resource}": {**record, "epoch": epoch} for resource, record in state.find("snapshot/")}
    )


def _identify(replication: Connection) -> tuple[str, int]:
    with replication.cursor() as cursor:
        cursor.execute("IDENTIFY_SYSTEM")
        found = cursor.fetchone()
        assert found is not None  # IDENTIFY_SYSTEM always answers one row
        return found[0], int(found[1])


def _create(contract: Contract, names: Names, replication: Connection) -> int:
    if not contract.source.managed:
        raise Terminal(
            f"the replication slot {names.slot} does not exist (source.managed is false)",
            part="source",
            remedy=f"let the DBA run: {slot_sql(names)}",
        )
    log.info("making slot %s; it waits for transactions that run now", names.slot)
    cursor: Any = replication.cursor()
    with cursor:
        cursor.create_replication_slot(
            names.slot, slot_type=psycopg2.extras.REPLICATION_LOGICAL, output_plugin="pgoutput"
        )
        found = cursor.fetchone()
    assert found is not None  # CREATE_REPLICATION_SLOT answers one row or fails
    high, low = str(found[1]).split("/")
    return (int(high, 16) << 32) | int(low, 16)


def _xid(connection: Connection) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT txid_snapshot_xmax(txid_current_snapshot())")
        found = cursor.fetchone()
    return int(found[0]) if found else 0
