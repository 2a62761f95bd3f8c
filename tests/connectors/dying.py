"""`python -m tests.connectors.dying NOTES AT STATION`: a connector that is killed between two notes of
its state where no run before it was killed. NOTES: the file that says where they were. AT: how the note
begins after which it is killed; empty: any."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from connectors.__main__ import main
from connectors.state import Record, State

_put_all = State.put_all


def _what(key: str, record: Record | None) -> str:
    if record is None:
        return f"{key} gone"
    return " ".join([key, *(f"{name}={record[name]}" for name in ("state", "done") if name in record)])


class Dying:
    """In the place of State.put_all, which may be cut short between any two of its records."""

    def __init__(self, notes: Path, at: str) -> None:
        self._notes = notes
        self._at = at
        self._before = set(notes.read_text().splitlines()) if notes.exists() else set()
        self._last = ""

    def put_all(self, state: State, records: dict[str, Record | None]) -> None:
        if not self._last:
            read = [record["state"] for _, record in state.find("snapshot/")]
            self._last = "start of the stream" if set(read) == {"done"} else "start"
        for key, record in records.items():
            _put_all(state, {key: record})
            last, self._last = self._last, _what(key, record)
            step = f"{self._last} after {last}"
            if step.startswith(self._at) and step not in self._before:
                with self._notes.open("a") as notes:
                    notes.write(f"{step}\n")
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    dying = Dying(Path(sys.argv[1]), sys.argv[2])
    State.put_all = lambda state, records: dying.put_all(state, records)  # type: ignore[method-assign]
    sys.exit(main(sys.argv[3:]))
