"""A part is stopped for a while under a steady load: how long until all that waited has landed."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field

from bench.backlog import Backlog
from bench.hops import Hops
from bench.load import Load
from bench.rail import STATION, Rail
from bench.report import Report
from bench.say import say
from datarail.errors import Terminal
from datarail.position import Lane
from deploy import line

EACH = 20
_BEFORE = 8.0
_EVERY = 0.5
_PATIENCE = 900.0


@dataclass
class Outage:
    """One outage. stopped: seconds it lasted; waiting: from the start of the part until the first
    row went through it; caught_up: from its start until all that was captured before is in every
    sink; rows: how many those were that it had not let through; course: (seconds since it was
    stopped, rows behind)."""

    part: str
    stopped: float
    waiting: float
    caught_up: float
    rows: int
    course: list[tuple[float, int]] = field(repr=False)

    @property
    def rate(self) -> float:
        """Rows a second from its start on."""
        return self.rows / self.caught_up


def outage(rail: Rail, backlog: Backlog, part: str, rate: float, seconds: float) -> Outage:
    """Stop a part for `seconds` while `rate` rows a second are committed, start it, and watch."""
    with (
        closing(Hops(rail.settings, STATION)) as hops,
        Load(rail, backlog, rate, _BEFORE + seconds + _PATIENCE, EACH),
    ):
        time.sleep(_BEFORE)
        line.stop_part(rail.settings, part)
        stopped, before = time.monotonic(), hops.captured(Lane.STREAM)
        watch = Watch(hops)
        while time.monotonic() < stopped + seconds:
            watch.look()
        line.start_part(rail.settings, part)
        started, waited = time.monotonic(), hops.numbers(Lane.STREAM)
        stood = watch.passed
        waiting = 0.0
        while not passed_all(watch.landed, waited):
            watch.look()
            if watch.passed > stood and not waiting:
                waiting = time.monotonic() - started
            if time.monotonic() > started + _PATIENCE:
                raise Terminal(f"{part} has not caught up after {_PATIENCE:.0f} s", part="bench")
        caught_up = time.monotonic() - started
        rows = sum(waited.values()) - before
    rail.settle()
    return Outage(part, started - stopped, waiting, caught_up, rows, watch.course)


class Watch:
    """Looks twice a second how many changes are captured and have not landed everywhere yet."""

    def __init__(self, hops: Hops) -> None:
        self._hops = hops
        self._since = time.monotonic()
        self.course: list[tuple[float, int]] = []
        self.landed: dict[int, int] = {}

    @property
    def passed(self) -> int:
        """Changes that have landed everywhere."""
        return sum(self.landed.values())

    def look(self) -> None:
        """Take a pause and look."""
        time.sleep(_EVERY)
        now = time.monotonic()
        self.landed, captured = self._hops.landed(Lane.STREAM), self._hops.numbers(Lane.STREAM)
        if len(self.course) % 20 == 19:
            say(f"  {now - self._since:.0f} s: {sum(captured.values()) - self.passed:,} rows behind")
        self.course.append((round(now - self._since, 1), max(0, sum(captured.values()) - self.passed)))


def passed_all(landed: dict[int, int], then: dict[int, int]) -> bool:
    """Whether every partition has come to where it was captured then."""
    return all(landed.get(partition, 0) >= number for partition, number in then.items())


def tell(report: Report, name: str, run: Outage) -> None:
    """Enter an outage under a name such as wide32.outage."""
    name = f"{name}.{run.part.partition('.')[0]}"
    report.add(f"{name}.stopped", "s", run.stopped)
    report.add(f"{name}.waiting", "s", run.waiting)
    report.add(f"{name}.caught_up", "s", run.caught_up)
    report.add(f"{name}.rate", "rows/s", run.rate)
    say(
        f"  {run.part}: stopped for {run.stopped:.0f} s, at work again after {run.waiting:.1f} s, caught up "
        f"after {run.caught_up:.1f} s: {run.rate:,.0f} rows/s meanwhile"
    )
