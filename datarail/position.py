"""Identity of a change, lanes, and the marks that hops keep of what they have passed.

Identity = (station, epoch, position, index, part), DESIGN rule 1. Within one station and
epoch, identities are ordered as the source committed; across stations they are not comparable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

#: Index of the first row read by a snapshot: above every index a transaction can reach, so that
#: a chunk's row wins over a stream change at the very position the snapshot was taken at.
SNAPSHOT_INDEX = 1 << 40


class Lane(IntEnum):
    """The ways a change can come. Each is numbered densely on its own (rule 2)."""

    STREAM = 0
    SNAPSHOT = 1
    REPLAY = 2

    @property
    def label(self) -> str:
        return self.name.lower()


class Identity(NamedTuple):
    """Where one change stands in its station's log.

    epoch: rises when the log is another log (new cluster, timeline, slot recreated).
    position: PostgreSQL: LSN of the commit; MySQL: binlog file number << 32 | event offset.
    index: the row message's number within the transaction; snapshot rows: SNAPSHOT_INDEX + n.
    part: 0, or 1 for the create half of a key change.
    """

    epoch: int
    position: int
    index: int  # type: ignore[assignment] # it hides tuple.index, which nobody asks an identity for
    part: int = 0

    def text(self) -> str:
        return f"{self.epoch}.{self.position}.{self.index}.{self.part}"

    @classmethod
    def parse(cls, text: str) -> Identity:
        epoch, position, index, part = text.split(".")
        return cls(int(epoch), int(position), int(index), int(part))


@dataclass(slots=True)
class Mark:
    """What a hop has passed of one partition: next Kafka offset, and the last seq of each lane."""

    offset: int = 0
    seq: dict[Lane, int] = field(default_factory=dict)

    def covers(self, lane: Lane, last_seq: int) -> bool:
        return last_seq <= self.seq.get(lane, 0)

    def text(self) -> str:
        lanes = ",".join(f"{int(lane)}:{seq}" for lane, seq in sorted(self.seq.items()))
        return f"{self.offset}|{lanes}"

    @classmethod
    def parse(cls, text: str) -> Mark:
        offset, _, lanes = text.partition("|")
        pairs = (pair.split(":") for pair in lanes.split(",") if pair)
        return cls(int(offset), {Lane(int(lane)): int(seq) for lane, seq in pairs})
