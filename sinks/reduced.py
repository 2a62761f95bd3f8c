"""The cars of a batch → the last change of each source key: a few rows one by one, many rows of all
resources and partitions together. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import pyarrow as pa

from datarail.train import Car, as_batches
from sinks.latest import Latest, latest
from sinks.latest_few import FewLatest, latest_few

Reduced = Latest | FewLatest


class Plan(Protocol):
    """What a sink wants of a resource."""

    @property
    def items(self) -> Mapping[str, pa.DataType]: ...


P = TypeVar("P", bound=Plan)


def last_of_each(asked: Sequence[tuple[P, Sequence[Car]]], is_plain: Callable[[P], bool]) -> list[Reduced]:
    """Of each resource asked for, of each partition: its cars, in order of arrival. is_plain: whether the
    sink can take a resource's rows one by one."""
    found: list[Reduced | None] = [
        latest_few(cars, plan.items) if is_plain(plan) else None for plan, cars in asked
    ]
    many = [
        (as_batches(cars), plan.items) for (plan, cars), few in zip(asked, found, strict=True) if few is None
    ]
    others = iter(latest(many))
    return [next(others) if few is None else few for few in found]
