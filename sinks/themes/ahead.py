"""Changes that Redis is told while the rest of their batch is still being made ready.

A head start and no more: every change is guarded by its version, the mark moves only after all of
them, and where one call failed the landing tells everything again.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future, wait

from datarail.errors import Transient
from sinks.themes.changes import Changes
from sinks.themes.golden import Golden, Turn

#: Fewer changes are not worth a call of their own.
LEAST = 1000


class Ahead:
    """The head start of one batch. thread: runs one call after the other."""

    def __init__(self, golden: Golden, turn: Turn, thread: Executor) -> None:
        self._golden = golden
        self.turn = turn
        self._thread = thread
        self._told = (0, 0)
        self._calls: list[Future[None]] = []

    def tell(self, changes: Changes) -> None:
        """Begin to tell what has been added to the batch's changes since the last call."""
        some = changes.since(self._told)
        if len(some) >= LEAST:
            self._calls.append(self._thread.submit(self._golden.apply_some, some, self.turn))
            self._told = changes.place

    def rest(self, changes: Changes) -> Changes:
        """What of the batch is still to be told, after all that was begun; it may be asked again."""
        self.end()
        try:
            for call in self._calls:
                call.result()
        except Transient:
            return changes
        return changes.since(self._told)

    def end(self) -> None:
        """Wait for what was begun, whatever became of it."""
        wait(self._calls)
