"""Quantiles of a sliding minute are right within a bucket, and forget what is old."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datarail.freshness import Freshness


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=300))
def test_quantiles_are_within_a_bucket(ages: list[float]) -> None:
    fresh = Freshness()
    fresh.add(np.array(ages), now=0.0)
    told = fresh.read(now=1.0)
    exact = np.sort(ages)[int(np.ceil(0.5 * len(ages))) - 1] * 1000
    assert told["p50"] == pytest.approx(exact, rel=0.051)


def test_a_minute_later_all_is_quiet() -> None:
    fresh = Freshness()
    fresh.add(np.array([0.01] * 600), now=0.0)
    assert fresh.read(now=60.5) == {"p50": None, "p99": None, "rate": 0.0}


def test_rate_is_rows_over_the_time_seen() -> None:
    fresh = Freshness()
    for second in range(10):
        fresh.add(np.array([0.01] * 100), now=float(second))
    assert fresh.read(now=10.0)["rate"] == pytest.approx(100, rel=0.01)
