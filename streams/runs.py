"""Cars of the same columns that were opened together; joined, and so copied, as late as can be. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pyarrow as pa

from datarail.position import Lane
from datarail.small_car import FEW, SmallCar
from datarail.train import Car, as_batches
from streams.opening import Opened

#: Cars with the same columns, in order; or a handful of rows as one.
Run = list[Car] | SmallCar


def joined(opened: Iterable[Opened]) -> dict[tuple[str, Lane], list[Run]]:
    """Cars of one resource and lane that belong together, in order; a changed schema begins another run."""
    cars: dict[tuple[str, Lane], list[list[Car]]] = defaultdict(list)
    for each in opened:
        for entry, car in each.cars:
            if not car.num_rows:
                continue
            runs = cars[entry.resource, entry.lane]
            if runs and _alike(runs[-1][0], car):
                runs[-1].append(car)
            else:
                runs.append([car])
    return {key: [_few_as_one(run) for run in runs] for key, runs in cars.items()}


def is_cleaned(run: Run) -> bool:
    """Whether streams.few has cleaned it."""
    return isinstance(run, SmallCar) and run.shape.cleaned is not None


def batch_of(run: Run) -> pa.RecordBatch:
    """As one car in Arrow."""
    if isinstance(run, SmallCar):
        return run.batch()
    batches = as_batches(run)
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)  # which copies even one


def _alike(one: Car, other: Car) -> bool:
    if isinstance(one, SmallCar) and isinstance(other, SmallCar):
        return one.shape is other.shape
    return bool(_schema(one).equals(_schema(other)))


def _schema(car: Car) -> pa.Schema:
    return car.shape.schema if isinstance(car, SmallCar) else car.schema


def _few_as_one(run: list[Car]) -> Run:
    """Small cars as one where they are few."""
    small = [car for car in run if isinstance(car, SmallCar)]
    if len(small) == len(run) and sum(car.num_rows for car in small) <= FEW:
        return SmallCar(small[0].shape, [row for car in small for row in car.rows])
    return run
