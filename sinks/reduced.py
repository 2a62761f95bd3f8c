"""The cars of a batch → the last change of each source key: a few rows one by one, many rows of all
resources and partitions together. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import pyarrow as pa

from datarail.train import Car, as_batches
from sinks.latest import Cars, Latest, latest
from sinks.latest_few import FewLatest, latest_few

Reduced = Latest | FewLatest


class Plan(Protocol):
    """What a sink wants of a resource."""

    @property
    def items(self) -> Mapping[str, pa.DataType]: ...


P = TypeVar("P", bound=Plan)


def last_of_each(
    batches: Sequence[tuple[Mapping[str, P], Mapping[str, Sequence[Car]]]], is_plain: Callable[[P], bool]
) -> list[dict[str, Reduced]]:
    """By batch and resource. batches: the plans of a partition's station, and its cars by resource, in
    order of arrival. is_plain: whether the sink can take a resource's rows one by one."""
    found: list[dict[str, Reduced]] = []
    left: list[tuple[dict[str, Reduced], str]] = []  # where what is reduced together belongs
    many: list[Cars] = []
    for plans, cars in batches:
        found.append({})
        for resource, some in cars.items():
            items = plans[resource].items
            few = latest_few(some, items) if is_plain(plans[resource]) else None
            if few is not None:
                found[-1][resource] = few
            else:
                left.append((found[-1], resource))
                many.append((as_batches(some), items))
    for (batch, resource), reduced in zip(left, latest(many), strict=True):
        batch[resource] = reduced
    return found
