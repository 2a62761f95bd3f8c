"""What the benchmark concludes from what it sees: flat or not, overtaken or not, how many times more."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from bench.backpressure import overtaken
from bench.hops import Hops
from bench.latency import Latency
from bench.outage import Watch, passed_all
from bench.peers.__main__ import ratios
from bench.report import Report
from bench.steady import flat, judged, search
from bench.workloads import ALL, GROWTH, NAMES, chosen
from datarail.position import Lane


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ([20.0, 30.0, 25.0] * 20, True),
        ([100.0, 150.0, 200.0, 240.0, 300.0, 320.0], True),  # within what chance may do
        (list(np.linspace(100, 1900, 60)), False),  # grows
        ([6000.0] * 60, False),  # steady, but too late
        ([20.0, 30.0], False),  # too few to tell
    ],
)
def test_freshness_is_flat_when_the_end_is_as_soon_as_the_beginning(
    ages: list[float], expected: bool
) -> None:
    assert flat(np.array(ages)) is expected


@pytest.mark.parametrize("limit", [1500.0, 9000.0, 30_000.0])
def test_the_search_comes_near_the_limit_from_below(limit: float) -> None:
    asked: list[float] = []

    def holds(rate: float) -> bool:
        asked.append(rate)
        return rate <= limit

    found = search(holds, 4, 1000.0, 64_000.0)
    assert found <= limit < found * 2 ** (1 / 16) * 1.001
    assert len(asked) <= 10


def test_the_search_ends_at_the_most_there_is_to_try() -> None:
    assert search(lambda rate: True, 3, 1000.0, 4000.0) == 4000


def test_a_rate_too_high_from_the_first_is_nought() -> None:
    assert search(lambda rate: False, 3, 1000.0, 9000.0) == 0


def test_a_load_that_strangers_disturbed_once_is_tried_again() -> None:
    asked: list[float] = []

    def holds(rate: float) -> bool:
        asked.append(rate)
        return rate <= 2000 and asked.count(rate) == 2

    assert search(holds, 0, 1000.0, 64_000.0, 2) == 2000
    assert asked == [1000, 1000, 2000, 2000, 4000, 4000]


def test_a_load_the_source_cannot_keep_is_no_success() -> None:
    ages = {"indicator": np.full(30, 20.0), "history": np.full(9, 80.0)}
    run = Latency(1000, 10_000, ages, {}, 10.0, {})
    assert judged(1000, run).holds
    assert judged(1000, run).freshness == 80.0
    run.late = 3000.0
    assert not judged(1000, run).holds


def test_a_trial_in_which_nothing_was_seen_does_not_hold() -> None:
    run = Latency(1000, 10_000, {"indicator": np.array([])}, {}, 10.0, {})
    assert not judged(1000, run).holds


def test_who_was_overtaken_and_by_how_much() -> None:
    commits = np.array([1000, 2000, 3000, 4000], np.int64)
    assert overtaken((commits, commits + 500)) == [0.0, 0.0, 0.0]
    seen = np.array([9000, 5000, 6000, 9500], np.int64)
    assert overtaken((commits, seen)) == [4.0, 0.0, 0.0]
    assert overtaken((commits[:1], seen[:1])) == []


def test_all_has_landed_when_every_partition_has_come_so_far() -> None:
    assert passed_all({0: 5, 1: 7}, {0: 5, 1: 6})
    assert not passed_all({0: 5}, {0: 5, 1: 1})


def test_ratios_are_told_against_each_and_against_the_best() -> None:
    report = Report()
    report.add("ours.stream.captured", "rows/s", 40_000.0)
    report.add("debezium.defaults.stream.captured", "rows/s", 10_000.0)
    report.add("debezium.quick.stream.captured", "rows/s", 20_000.0)
    report.add("ours.latency.1000.raw.p50", "ms", 5.0)
    report.add("debezium.quick.latency.1000.raw.p50", "ms", 20.0)
    report.add("plain.landed", "rows/s", 2_000.0)
    report.add("ours.landed", "rows/s", 20_000.0)
    ratios(report)
    told = {name: values for (name, unit), values in report.readings.items() if unit == "times"}
    assert told == {
        "ratio.stream": [2.0],
        "ratio.debezium.defaults.stream": [4.0],
        "ratio.debezium.quick.stream": [2.0],
        "ratio.debezium.quick.p50": [4.0],
        "ratio.plain.landed": [10.0],
    }


def test_growth_is_measured_when_all_is() -> None:
    assert len(chosen(None, full=False)) == len(ALL)
    assert len(chosen(None, full=True)) == len(ALL) + len(GROWTH)
    assert len(chosen("growth", full=False)) == len(GROWTH)
    for name in NAMES:
        assert chosen(name, full=False)


class Standing:
    """Hops of which is known how far they are, look by look."""

    def __init__(self, *looks: tuple[dict[int, int], dict[int, int]]) -> None:
        self._looks = list(looks)
        self._now = self._looks[0]

    def landed(self, _lane: Lane) -> dict[int, int]:
        self._now = self._looks.pop(0)
        return self._now[0]

    def numbers(self, _lane: Lane) -> dict[int, int]:
        return self._now[1]


def test_an_outage_is_over_when_what_was_there_has_landed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr("bench.outage.time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("bench.outage.time.sleep", lambda _seconds: None)
    watch = Watch(cast(Hops, Standing(({0: 0}, {0: 50}), ({0: 40}, {0: 90}), ({0: 90}, {0: 120}))))
    over = []
    for _ in range(3):
        watch.look()
        over.append(passed_all(watch.landed, {0: 90}))
    assert over == [False, False, True]
    assert watch.passed == 90
    assert watch.course == [(1.0, 50), (2.0, 50), (3.0, 30)]
