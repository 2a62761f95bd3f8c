"""Groups of neighbours: nothing lost, nothing moved, as large as is said."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise

from hypothesis import given
from hypothesis import strategies as st

from datarail.neighbours import no_more_than, until_enough

SIZES = st.lists(st.integers(0, 12))
LIMIT = st.integers(1, 20)


@given(SIZES, LIMIT)
def test_until_enough(sizes: list[int], enough: int) -> None:
    groups = list(until_enough(sizes, int, enough))
    assert [*chain(*groups)] == sizes and all(groups)
    assert all(sum(group) >= enough > sum(group[:-1]) for group in groups[:-1])
    assert all(enough > sum(group[:-1]) for group in groups[-1:])


@given(SIZES, LIMIT)
def test_no_more_than(sizes: list[int], most: int) -> None:
    groups = list(no_more_than(sizes, int, most))
    assert [*chain(*groups)] == sizes and all(groups)
    assert all(sum(group) <= most or len(group) == 1 for group in groups)
    assert all(sum(group) + after[0] > most for group, after in pairwise(groups))


def test_a_group_is_given_out_before_more_is_asked_for() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for number in range(9):
            asked.append(number)
            yield number

    assert next(until_enough(items(), int, 3)) == [0, 1, 2]
    assert asked == [0, 1, 2]
