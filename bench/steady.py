"""The highest rate at which freshness stays flat: loads of increasing rate, then in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.backlog import Backlog
from bench.latency import Latency, Milliseconds, latency
from bench.rail import Rail
from bench.report import Report
from bench.say import say
from bench.sizes import Size

#: Rows a commit.
EACH = 100
#: Freshness is flat when the last third of a load is seen no later than this, in milliseconds, …
BOUND = 5000.0
#: … and not much later than the first third was.
_RISE, _SLACK = 1.5, 250.0
_WARM_UP = 5.0
#: A load that is later than this behind its own schedule, in milliseconds, is one the source cannot.
_LATE = 1000.0
HOPS = ("indicator", "golden", "history")


@dataclass(frozen=True)
class Trial:
    """One load. rate: rows a second that came; freshness: ms, the slowest hop's median in the last
    third; holds: it stayed flat and the source kept up with the load."""

    asked: float
    rate: float
    freshness: float
    holds: bool


def flat(ages: Milliseconds) -> bool:
    """Whether changes, in the order of their commits, are seen as soon at the end as at first."""
    if len(ages) < 3:
        return False
    third = len(ages) // 3
    first, last = float(np.median(ages[:third])), float(np.median(ages[-third:]))
    return last <= BOUND and last <= _RISE * first + _SLACK


def search(held: Callable[[float], bool], halvings: int, first: float, most: float, tries: int = 1) -> float:
    """The highest rate found that holds: from `first` on doubled until one does not, `most` at most,
    then halved in between (geometrically) so many times. 0 when none holds. One that was not held is
    tried so often: strangers on the machine can only make it worse."""

    def holds(rate: float) -> bool:
        return any(held(rate) for _ in range(tries))

    low, high = 0.0, first
    while high <= most and holds(high):
        low, high = high, 2 * high
    if not low or high > most:
        return low
    for _ in range(halvings):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def highest(rail: Rail, backlog: Backlog, size: Size) -> list[Trial]:
    """Every load tried, in the order of trying. Each is waited for until all of it has landed."""
    trials: list[Trial] = []

    def held(rate: float) -> bool:
        run = latency(rail, backlog, rate, size.steady_seconds, EACH, warm_up=_WARM_UP, look=("probe",))
        trials.append(judged(rate, run))
        last = trials[-1]
        word = "flat" if last.holds else "not flat" if run.late <= _LATE else "the source cannot"
        say(f"  {rate:,.0f} rows/s: {last.rate:,.0f} came, freshness {last.freshness:,.0f} ms: {word}")
        return last.holds

    search(held, size.steady_halvings, size.steady_first, size.steady_most, size.steady_tries)
    return trials


def judged(asked: float, run: Latency) -> Trial:
    """Whether a load was kept up with: every hop flat, and the source on its schedule."""
    known = [run.ages[hop] for hop in HOPS if hop in run.ages]
    ends = [float(np.median(ages[-max(1, len(ages) // 3) :])) for ages in known if len(ages)]
    holds = all(map(flat, known)) and run.late <= _LATE
    return Trial(asked, run.rows / run.seconds, max(ends, default=float("inf")), holds)


def tell(report: Report, name: str, trials: list[Trial]) -> None:
    """Enter the highest rate that held, the freshness there, and every trial's."""
    held = max((trial for trial in trials if trial.holds), key=lambda trial: trial.rate, default=None)
    report.add(f"{name}.rate", "rows/s", held.rate if held else 0.0)
    if held:
        report.add(f"{name}.freshness", "ms", held.freshness)
    for trial in (trial for trial in trials if np.isfinite(trial.freshness)):
        report.add(f"{name}.at.{trial.asked:.0f}", "ms", trial.freshness)
    say(f"  {name}: freshness stays flat up to {held.rate if held else 0:,.0f} rows/s")
