"""Tables whose changes went by for a while: when they are back, all of them is read anew.

Noted in state before anything else is done, so that no crash makes it forgotten.
"""

from __future__ import annotations

from connectors.state import Record, State
from datarail.contract import Contract

#: Of no epoch, so the next start reads it again, behind a truncate.
_LOST: Record = {"epoch": 0, "floor": 0, "state": "lost", "truncate": True}


def read_anew(state: State, resource: str) -> bool:
    """Note that a table must be read again; false where it never was, so that it is read anyway."""
    record = state.get(f"snapshot/{resource}")
    if record is None:
        return False
    if record != _LOST:
        state.put(f"snapshot/{resource}", _LOST)
    return True


def leave_out(state: State, contract: Contract) -> None:
    """To be called as the stream begins: it goes past tables that were not read to their end, and
    past those that are not in the contract (any more)."""
    for name, record in list(state.find("snapshot/")):
        if record["state"] == "running" or name not in contract.resources:
            read_anew(state, name)
