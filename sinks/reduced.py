"""The cars of a batch → the last change of each source key: a few rows one by one, many rows of several
resources and partitions together. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import pyarrow as pa

from datarail.neighbours import no_more_than
from datarail.train import Car, as_batches
from sinks.latest import Latest, latest
from sinks.latest_few import FewLatest, latest_few

Reduced = Latest | FewLatest

#: Rows that are reduced together: more cost hardly less a row, and memory.
AT_ONCE = 32_768

_Cars = tuple[int, str, Sequence[Car]]


class Plan(Protocol):
    """What a sink wants of a resource."""

    @property
    def items(self) -> Mapping[str, pa.DataType]: ...


P = TypeVar("P", bound=Plan)


def last_of_each(
    batches: Sequence[tuple[Mapping[str, P], Mapping[str, Sequence[Car]]]],
    is_plain: Callable[[P], bool],
    at_once: int = AT_ONCE,
) -> list[Iterator[tuple[str, Reduced]]]:
    """By batch, each resource and what its cars come to. batches: the plans of a partition's station, and
    its cars by resource, in order of arrival. is_plain: whether the sink can take a resource's rows one
    by one.

    The first rows are reduced now, the others when they are asked for, some `at_once`: a batch of any
    size is never in memory reduced as a whole.
    """
    ready: list[deque[tuple[str, Reduced]]] = [deque() for _ in batches]
    all_cars = ((batch, *some) for batch, (_, cars) in enumerate(batches) for some in cars.items())
    slices = no_more_than(all_cars, _rows, at_once)

    def reduce_some() -> None:
        some = next(slices, [])
        plans = [batches[batch][0][resource] for batch, resource, _ in some]
        few = [
            latest_few(cars, plan.items) if is_plain(plan) else None
            for (_, _, cars), plan in zip(some, plans, strict=True)
        ]
        left = [number for number, each in enumerate(few) if each is None]
        many = iter(latest([(as_batches(some[number][2]), plans[number].items) for number in left]))
        for (batch, resource, _), each in zip(some, few, strict=True):
            ready[batch].append((resource, next(many) if each is None else each))

    def of(batch: int) -> Iterator[tuple[str, Reduced]]:
        for _ in batches[batch][1]:
            while not ready[batch]:
                reduce_some()
            yield ready[batch].popleft()

    reduce_some()
    return [of(batch) for batch in range(len(batches))]


def _rows(cars: _Cars) -> int:
    return sum(car.num_rows for car in cars[2])
