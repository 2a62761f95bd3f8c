"""Opening raw records: trains into rows that are new, what cannot be read into quarantine. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from datarail.errors import BadRecord
from datarail.position import Identity, Lane
from datarail.small_car import SEQ, SmallCar
from datarail.train import Car, CarEntry, Manifest, Train, as_batch, open_cars, read_manifest
from streams.marks import Gap, Passed
from streams.quarantine import unreadable_record


@dataclass(slots=True, frozen=True)
class RawRecord:
    """A record of a raw topic as Kafka gave it."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    headers: Mapping[str, bytes]


@dataclass(slots=True)
class Opened:
    """What one raw record, or a part of one, brings.

    raw: the offsets covered when this has passed; a part that is not the last covers none.
    seq: by lane what it covers, rows that were dropped as repeats included.
    cars: (manifest entry, rows that are new). lost: entries of a train that could not be opened.
    quarantined: keys and values of records to keep whole.
    """

    raw: tuple[int, int]
    epoch: int = 0
    last: Identity | None = None
    seq: dict[Lane, tuple[int, int]] = field(default_factory=dict)
    cars: list[tuple[CarEntry, Car]] = field(default_factory=list)
    lost: list[CarEntry] = field(default_factory=list)
    quarantined: list[tuple[bytes, bytes]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    repeats: int = 0
    error: str = ""

    @property
    def rows(self) -> int:
        return sum(car.num_rows for _, car in self.cars)

    @property
    def size(self) -> int:
        """Bytes of its cars when opened, by the manifest: to ask some thirty columns each for theirs
        takes 40 µs a car."""
        return sum(entry.plain or entry.bytes for entry, _ in self.cars)


def open_record(record: RawRecord, station: str, passed: Passed, at: int) -> Opened:
    """Open one raw record and move `passed` over it. at: microseconds since 1970."""
    opened = Opened((record.offset, record.offset + 1))
    passed.offset = record.offset + 1
    manifest: Manifest | None = None
    train: Train | None = None
    try:
        manifest = read_manifest(record.headers)
        if manifest.station != station:
            wrong, manifest = manifest.station, None
            raise BadRecord(f"the train is of station {wrong}, the topic of {station}")
        train = open_cars(manifest, record.value, small=True)
        _check(train)
    except BadRecord as error:
        opened.error = str(error)
    if manifest is None:
        _keep_whole(opened, record, station, {}, at)
        return opened
    before, opened.gaps = passed.take(manifest)
    opened.epoch, opened.last = manifest.epoch, manifest.last
    opened.seq = {lane: (before[lane] + 1, passed.seq[lane]) for lane in manifest.seq}
    if not opened.error and train is not None:
        for entry, car in zip(manifest.cars, train.cars, strict=True):
            new = _new_rows(car, entry, manifest, before.get(entry.lane, 0))
            opened.repeats += car.num_rows - new.num_rows
            opened.cars.append((entry, new))
    elif any(last > before[lane] for lane, (_, last) in manifest.seq.items()):
        opened.lost = [entry for entry in manifest.cars if manifest.seq[entry.lane][1] > before[entry.lane]]
        _keep_whole(opened, record, station, {entry.resource: entry.counted for entry in opened.lost}, at)
    return opened


def halves(opened: Opened) -> tuple[Opened, Opened] | None:
    """One record's rows as two parts, by seq in each lane; None when there is nothing to divide.

    The first part covers no raw offset: after a crash between the two the record is read again,
    and the seq of the first part drops what it had brought.
    """
    if opened.rows < 2:
        return None
    cut = {}
    for lane in {entry.lane for entry, _ in opened.cars}:
        numbers = pa.chunked_array(
            [as_batch(car).column("_seq") for entry, car in opened.cars if entry.lane == lane]
        )
        cut[lane] = pc.quantile(numbers, 0.5, interpolation="lower")[0].as_py()
    first = Opened((opened.raw[0], opened.raw[0]), epoch=opened.epoch)
    second = Opened(opened.raw, opened.epoch, opened.last, lost=opened.lost, quarantined=opened.quarantined)
    for lane, (start, end) in opened.seq.items():
        middle = int(cut.get(lane, start - 1))
        first.seq[lane], second.seq[lane] = (start, middle), (middle + 1, end)
    for entry, each in opened.cars:
        car = as_batch(each)
        early = pc.less_equal(car.column("_seq"), pa.scalar(int(cut[entry.lane]), pa.uint64()))
        first.cars.append((entry, car.filter(early)))
        second.cars.append((entry, car.filter(pc.invert(early))))
    if not first.rows or not second.rows:
        return None
    return first, second


def give_up(opened: Opened, station: str, topic: str, partition: int, at: int) -> Opened:
    """What a record brings whose rows are too large for a train even as written: they are counted
    as unreadable and told in quarantine, and the mark moves on over them."""
    offset = opened.raw[0]
    error = (
        f"a change is too large for one record once it is cleaned; it is at offset {offset} of "
        f"{topic}/{partition} as long as Kafka keeps it"
    )
    given = Opened(opened.raw, opened.epoch, opened.last, opened.seq, [], list(opened.lost), error=error)
    for entry, car in opened.cars:
        ops = [chr(op) for op in as_batch(car).column("_op").to_pylist()]
        # A truncate goes to every partition and counts once.
        counted = {op: ops.count(op) for op in ops if op != "t" or partition == 0}
        if ops:
            given.lost.append(replace(entry, rows=len(ops), ops=counted))
    resources = {entry.resource: entry.counted for entry in given.lost}
    told = unreadable_record(station, topic, partition, offset, error, resources, None, None, at)
    given.quarantined = [*opened.quarantined, told]
    return given


def _new_rows(car: Car, entry: CarEntry, manifest: Manifest, passed: int) -> Car:
    if manifest.seq.get(entry.lane, (passed + 1, 0))[0] > passed:
        return car
    if isinstance(car, SmallCar):
        return SmallCar(car.shape, [row for row in car.rows if row[SEQ] > passed])
    return car.filter(pc.greater(car.column("_seq"), pa.scalar(passed, pa.uint64())))


def _check(train: Train) -> None:
    # A train that is one in form only would stop the agent further on.
    for entry, car in zip(train.manifest.cars, train.cars, strict=True):
        if entry.lane not in train.manifest.seq:
            raise BadRecord(f"car {entry.resource}: no seq for its lane {entry.lane.label}")
        if isinstance(car, SmallCar):
            if car.shape.cleaned is not None or not car.sound:
                raise BadRecord(f"car {entry.resource} has values that no raw car has")
            continue
        names = set(car.schema.names)
        if lacking := [
            name for name in ("_op", "_lane", "_seq", "_commit", "_unchanged") if name not in names
        ]:
            raise BadRecord(f"car {entry.resource} has no column {lacking[0]}")


def _keep_whole(opened: Opened, record: RawRecord, station: str, resources: dict[str, int], at: int) -> None:
    opened.quarantined.append(
        unreadable_record(
            station,
            record.topic,
            record.partition,
            record.offset,
            opened.error,
            resources,
            record.headers,
            record.value,
            at,
        )
    )
