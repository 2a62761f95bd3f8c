"""What this hop has passed of each partition, and what of a raw train is new. Pure.

The mark is the last clean train itself: its manifest says which raw offsets and which seq it
covers. So every clean train names all lanes known, also one it has nothing of: then as the empty
range (last + 1, last).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from datarail.position import Identity, Lane
from datarail.train import Manifest


class Gap(NamedTuple):
    """Seq numbers that never came."""

    lane: Lane
    first: int
    last: int


@dataclass(slots=True)
class Passed:
    """The mark of one partition. offset: the next raw offset to be cleaned."""

    offset: int = 0
    epoch: int = 0
    last: Identity | None = None
    seq: dict[Lane, int] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Manifest | None) -> Passed:
        """The mark a clean train left."""
        if manifest is None:
            return cls()
        return cls(
            offset=manifest.raw[1] if manifest.raw else 0,
            epoch=manifest.epoch,
            last=manifest.last,
            seq={lane: last for lane, (_, last) in manifest.seq.items()},
        )

    def copy(self) -> Passed:
        return Passed(self.offset, self.epoch, self.last, dict(self.seq))

    def take(self, manifest: Manifest) -> tuple[dict[Lane, int], list[Gap]]:
        """Move on over a raw train: (by lane the last seq that was passed before, gaps found).

        A lane seen for the first time starts where it starts: that is no gap. Nor is seq 1 of a
        higher epoch: the raw topic was made anew and its connector counts from the beginning.
        """
        before: dict[Lane, int] = {}
        gaps = []
        for lane, (first, last) in manifest.seq.items():
            passed = self.seq.get(lane)
            if passed is not None and first == 1 and passed > 0 and manifest.epoch > self.epoch:
                passed = None
                self.seq.pop(lane)
            if passed is not None and first > passed + 1:
                gaps.append(Gap(lane, passed + 1, first - 1))
            before[lane] = passed or 0
            self.seq[lane] = max(last, self.seq.get(lane, 0))
        self.epoch = max(self.epoch, manifest.epoch)
        self.last = manifest.last or self.last
        return before, gaps
