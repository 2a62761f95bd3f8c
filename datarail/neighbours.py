"""Cutting what comes one after the other into groups of neighbours, by size. Pure, and lazy: a group is
given out as soon as it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def until_enough(items: Iterable[T], size: Callable[[T], int], enough: int) -> Iterator[list[T]]:
    """Groups that have just become as large as `enough`; the last may be smaller."""
    group: list[T] = []
    total = 0
    for item in items:
        group.append(item)
        total += size(item)
        if total >= enough:
            yield group
            group, total = [], 0
    if group:
        yield group


def no_more_than(items: Iterable[T], size: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Groups as large as can be up to `most`; what is larger by itself is a group of its own."""
    group: list[T] = []
    total = 0
    for item in items:
        own = size(item)
        if group and total + own > most:
            yield group
            group, total = [], 0
        group.append(item)
        total += own
    if group:
        yield group
