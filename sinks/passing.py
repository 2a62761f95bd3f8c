"""What a mark lets pass: repeats are dropped by seq, gaps are told, the mark moves on. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datarail.position import Lane, Mark
from datarail.train import Car, CarEntry, Manifest, Train, as_batch


@dataclass(slots=True, frozen=True)
class Passed:
    """What is new in a train. repeats: changes dropped. gaps: (lane, first missing, last missing)."""

    train: Train
    repeats: int
    gaps: list[tuple[Lane, int, int]]


def new_in(train: Train, mark: Mark, partition: int) -> Passed:
    """The train without the rows whose seq the mark has passed (a zombie agent's second train).

    A train known by its manifest alone (no cars) is only cut by whole lanes.
    """
    manifest = train.manifest
    gaps = [
        (lane, mark.seq.get(lane, 0) + 1, first - 1)
        for lane, (first, _) in manifest.seq.items()
        if first > mark.seq.get(lane, 0) + 1
    ]
    if all(first > mark.seq.get(lane, 0) for lane, (first, _) in manifest.seq.items()):
        return Passed(train, 0, gaps)
    entries: list[CarEntry] = []
    cars: list[Car] = []
    repeats = 0
    for index, entry in enumerate(manifest.cars):
        passed = mark.seq.get(entry.lane, 0)
        first, last = manifest.seq.get(entry.lane, (0, passed + 1))
        if last <= passed:
            repeats += entry.rows
            continue
        if first <= passed and train.cars:
            share = (last - passed) / (last - first + 1)
            entry, car = _cut(entry, as_batch(train.cars[index]), passed, partition, share)
            repeats += train.cars[index].num_rows - car.num_rows
        elif train.cars:
            car = train.cars[index]
        entries.append(entry)
        if train.cars:
            cars.append(car)
    seq = {
        lane: (max(first, mark.seq.get(lane, 0) + 1), last)
        for lane, (first, last) in manifest.seq.items()
        if last > mark.seq.get(lane, 0)
    }
    return Passed(Train(replace(manifest, seq=seq, cars=entries), cars), repeats, gaps)


def repeats_in_part(manifest: Manifest, mark: Mark) -> bool:
    """Whether some lane of the train is half passed and half new."""
    return any(first <= mark.seq.get(lane, 0) < last for lane, (first, last) in manifest.seq.items())


def _cut(
    entry: CarEntry, car: pa.RecordBatch, passed: int, partition: int, share: float
) -> tuple[CarEntry, pa.RecordBatch]:
    kept = car.filter(pc.greater(car.column("_seq"), pa.scalar(passed, pa.uint64())))
    codes, counts = np.unique(kept.column("_op").to_numpy(), return_counts=True)
    ops = {chr(int(code)): int(count) for code, count in zip(codes, counts, strict=True)}
    if partition != 0:
        ops.pop("t", None)  # a truncate goes to every partition and counts once
    held = pc.sum(kept.column("_held")).as_py() or 0 if "_held" in kept.schema.names else 0
    # Rows that were left out have no seq to be told by: they are taken as evenly spread.
    filtered, unreadable = round(entry.filtered * share), round(entry.unreadable * share)
    cut = replace(entry, rows=kept.num_rows, ops=ops, held=held, filtered=filtered, unreadable=unreadable)
    return cut, kept


def moved_on(mark: Mark, offset: int, train: Train) -> Mark:
    """The mark after this train at this offset."""
    seq = dict(mark.seq)
    for lane, (_, last) in train.manifest.seq.items():
        seq[lane] = max(seq.get(lane, 0), last)
    return Mark(offset + 1, seq)
