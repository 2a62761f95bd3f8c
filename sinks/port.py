"""What a sink is to the loop that feeds it (sinks.loop): four methods.

A sink's effects are idempotent, and it alone remembers, in its own store and together with
the effects, what it has passed. The loop resumes from there, never from the group's offset;
it commits offsets only so that everyone can see the lag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from datarail.position import Mark
from datarail.train import Train


@dataclass(slots=True, frozen=True)
class Arrival:
    """One train with its place in Kafka. Rows whose seq the sink's mark covers are already gone.

    record: of topics that carry no trains (quarantine), the record's value; train is then empty.
    """

    topic: str
    partition: int
    offset: int
    train: Train
    record: bytes = b""


@runtime_checkable
class Beside(Protocol):
    """A sink that is of use before it is flushed, and so flushes beside its work."""

    def flush_beside(self) -> bool:
        """Begin to flush on a thread; false while the flush before goes on still. May raise what
        that one met."""
        ...

    def flushed_beside(self) -> dict[tuple[str, int], Mark]:
        """The marks that have become durable so since the last call. May raise what a flush met."""
        ...


@runtime_checkable
class Early(Protocol):
    """A sink whose rows can be read before they are durable."""

    def show(self) -> bool:
        """Show what was written when it is time to; whether all of it can be read now. May raise as
        `Sink.write` does."""
        ...


class Sink(Protocol):
    """One theme of landing. All calls come from one thread.

    A sink may also have: `feed` (sinks.feeds.Feed: which topics, how they are opened; clean
    trains unless said), `lands_at_flush` (true: what was written counts as landed, for
    freshness, when it is flushed; else when written), `full` (true: flush now),
    `flush_every` (seconds from the first unflushed train to the flush while more trains come;
    1 unless said, and 1 when no more come), `late` (true: what it waits with is late already, so
    it may wait while more is on its way, and not a moment longer), and what `Beside` and `Early`
    have.
    """

    name: str

    def resume(self, topic: str, partition: int) -> Mark:
        """Where to go on for a partition just assigned: the oldest mark of the sink's stores.

        Raises Transient when a store is away.
        """
        ...

    def write(self, arrivals: list[Arrival]) -> None:
        """Take trains, in order per partition. May buffer up to the next flush.

        Raises Transient (the loop waits, and calls again with the same arrivals: so nothing
        of a call that raised may count) or Terminal (the process stops).
        """
        ...

    def flush(self) -> dict[tuple[str, int], Mark]:
        """Make everything taken durable; returns the marks now durable, by (topic, partition).

        Called at least every second while trains arrive, and when the sink is idle.
        """
        ...

    def close(self) -> None:
        """Give up connections. What was not flushed is read again next time."""
        ...
