"""A batch that is being told to the stores, some source keys at a time, while the rest is made ready.

What has been told is let go, so a batch of any size is never in memory whole. Only the last landing
moves the mark: where a process ends before it, everything comes again and finds itself known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait

from datarail.errors import Transient
from datarail.position import Mark
from sinks.themes.landing import Landing


class UnderWay:
    """The landings of one batch, in order. land: tells the stores of one, and may be repeated; of the last
    with the mark after the batch. thread: runs one call after the other."""

    def __init__(self, land: Callable[[Landing, Mark | None], None], thread: Executor) -> None:
        self._land = land
        self._thread = thread
        self._left: deque[tuple[Landing, Mark | None]] = deque()
        self._last: Future[None] | None = None

    @property
    def begun(self) -> bool:
        return self._last is not None

    def add(self, landing: Landing, mark: Mark | None = None) -> None:
        """Begin to tell it, after those before. mark: of the last one."""
        self._left.append((landing, mark))
        self._last = self._thread.submit(self._tell, self._last)

    def settle(self) -> None:
        """Wait until all is told; where a store was away what is left is tried once more on the
        thread, and Transient raised."""
        try:
            if self._last is not None:
                self._last.result()
        except Transient:
            self._last = self._thread.submit(self._tell, None)
            raise

    def end(self) -> None:
        """Wait for what was begun, whatever became of it."""
        if self._last is not None:
            wait([self._last])

    def _tell(self, before: Future[None] | None) -> None:
        if before is not None:
            before.result()  # a fault stands in the way of all that follows
        while self._left:
            self._land(*self._left[0])
            self._left.popleft()
