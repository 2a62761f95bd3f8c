"""Trains: many changes of one station in one Kafka record. docs/train.md is the format's text.

A train's value is its cars, back to back, each but the smallest in a zstd frame of its own; a car
holds the changes of one resource and lane, as an Arrow IPC stream (datarail.arrow_car) or, where they
are but a handful, as JSON (datarail.small_car: such a car begins with "{"). The manifest, in the Kafka
header of that name, counts what is inside, so that ledgers need not open the value. Every hop
carries the same record: cleaning adds columns.

Columns of a car, in order:
  _op      uint8          ASCII of c (create) u (update) d (delete) r (read in a snapshot) t (truncate)
  _lane    uint8          Lane
  _seq     uint64         dense number within (station, partition, lane)
  _epoch   uint32         \
  _pos     uint64          | the identity (datarail.position.Identity)
  _idx     uint64          |
  _part    uint8          /
  _xid     uint64         the source's transaction (0: unknown); lets an audit compare under load
  _commit  timestamp[us]  when the source committed, UTC; snapshot rows: when they were read
  _unchanged  binary      null, or a bitmap (bit i%8 of byte i//8 = item i) of items the source did
                          not send because they did not change (TOAST): unchanged is not null
  _w_<item>   utf8        every item as written by the source, null where null or unchanged
cleaning adds
  _key      utf8          the source key as text (datarail.keys)
  _held     bool          true: a hard rule failed, the change is in quarantine
  _findings utf8          null, or a JSON list of findings
  <item>    typed         the cleaned value (datarail.types)
An item whose own name begins with "_" is spelled with one more "_" (datarail.columns).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeAlias

import orjson
import pyarrow as pa

from datarail.arrow_car import pack, unpack
from datarail.errors import BadRecord
from datarail.position import Identity, Lane
from datarail.small_car import SmallCar, load, to_batch

#: Trains of version 1 had every column in their streams; they are read as before.
VERSION = b"2"
_READ = (b"1", VERSION)

#: A car in memory: Arrow, or a handful of rows as plain values.
Car: TypeAlias = "pa.RecordBatch | SmallCar"
#: Cars of fewer bytes are left as they are: compressing them costs more than it saves.
_COMPRESS_FROM = 8 << 10
#: A car as one frame: Arrow would compress each column's buffers alone, which at 500 rows × 36
#: columns costs 4 times the time to write, 10 times to read, and twice the bytes.
_ZSTD = pa.Codec("zstd", compression_level=1)
#: No car is as large when opened: a manifest that says so is damaged.
_LARGEST_CAR = 1 << 31


@dataclass(slots=True)
class CarEntry:
    """One car's line in the manifest: rows counted so that nobody has to open it.

    ops counts changes by operation; a truncate goes to every partition and is counted by
    partition 0 alone, so sum(ops.values()) may be less than rows.
    Clean trains: held of the rows are in quarantine; filtered rows were left out because the
    contract asked for it; unreadable ones were in a raw train that could not be opened. The
    last two are not among rows. So counted(raw) = counted(clean) + filtered + unreadable.
    bytes: its part of the value; plain: what that is without its zstd frame, 0 if it has none.
    """

    resource: str
    lane: Lane
    rows: int
    ops: dict[str, int]
    bytes: int = 0
    held: int = 0
    filtered: int = 0
    unreadable: int = 0
    first_commit: int = 0  # microseconds since the epoch, UTC
    last_commit: int = 0
    plain: int = 0

    @property
    def counted(self) -> int:
        return sum(self.ops.values())


@dataclass(slots=True)
class Manifest:
    """What a train carries.

    seq: by lane, the first and last number inside. Clean trains cover what the raw trains
    covered, dropped rows included, so that the next hop can see gaps.
    Clean trains name every lane known, so that the last one alone is the whole mark: a lane of
    which there is nothing inside has the empty range (last + 1, last).
    last: identity of the last stream change up to which this partition is complete.
    raw: clean trains only: the half-open range of raw offsets they were made from.
    crc: CRC-32 of the value. Arrow does not check what it maps; a flipped bit must not pass.
    """

    station: str
    epoch: int
    captured: int  # microseconds: when the train was closed by its maker
    seq: dict[Lane, tuple[int, int]] = field(default_factory=dict)
    cars: list[CarEntry] = field(default_factory=list)
    last: Identity | None = None
    raw: tuple[int, int] | None = None
    crc: int = 0

    @property
    def rows(self) -> int:
        return sum(car.rows for car in self.cars)


@dataclass(slots=True)
class Train:
    """A manifest and its cars, in the same order."""

    manifest: Manifest
    cars: list[Car]


def as_batch(car: Car) -> pa.RecordBatch:
    """The car in Arrow. Raises ValueError where a small car's values are not of their types."""
    return car.batch() if isinstance(car, SmallCar) else car


def as_batches(cars: Iterable[Car]) -> list[pa.RecordBatch]:
    """Cars in Arrow, in order; small ones of one shape that follow each other as one."""
    batches: list[pa.RecordBatch] = []
    for columns, run in groupby(cars, lambda car: car.shape if isinstance(car, SmallCar) else None):
        if columns is None:
            batches += run
        else:
            batches.append(to_batch(columns, [row for car in run for row in car.rows]))
    return batches


Headers = Sequence[tuple[str, bytes]]


def encode(manifest: Manifest, cars: Sequence[Car]) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Value and headers of a train; fills in each entry's byte length and the checksum.

    Raises ValueError when cars and entries do not belong together.
    """
    return assemble(manifest, [write_car(*each) for each in zip(manifest.cars, cars, strict=True)])


def write_car(entry: CarEntry, car: Car) -> bytes:
    """A car as it stands in a train; fills in its entry's byte lengths. Raises ValueError."""
    if entry.rows != car.num_rows:
        raise ValueError(f"car {entry.resource}: {car.num_rows} rows, manifest says {entry.rows}")
    written = car.dump() if isinstance(car, SmallCar) else pack(car)
    entry.plain = len(written) if len(written) >= _COMPRESS_FROM else 0
    if entry.plain:
        written = _ZSTD.compress(written, asbytes=True)
    entry.bytes = len(written)
    return written


def assemble(manifest: Manifest, written: Iterable[bytes]) -> tuple[bytes, list[tuple[str, bytes]]]:
    """`encode` of cars that are written already."""
    value = b"".join(written)
    manifest.crc = zlib.crc32(value)
    return value, [("datarail", VERSION), ("manifest", _dump(manifest))]


def read_manifest(headers: Headers | Mapping[str, bytes] | None) -> Manifest:
    """The manifest in a record's headers; raises BadRecord saying what is wrong with it."""
    by_name = dict(headers or ())
    if (found := by_name.get("datarail")) not in _READ:
        raise BadRecord(f"not a train of version 1 to {VERSION.decode()}: header datarail is {found!r}")
    try:
        return _load(orjson.loads(by_name["manifest"]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BadRecord(f"unreadable train manifest: {error!r}") from error


def decode(
    value: bytes | None, headers: Headers | Mapping[str, bytes] | None, *, small: bool = False
) -> Train:
    """Open a whole train; raises BadRecord when any part of it does not hold.

    small: leave small cars as they are, for a reader that has a way of its own for them; else all
    are Arrow.
    """
    return open_cars(read_manifest(headers), value, small=small)


def open_cars(manifest: Manifest, value: bytes | None, *, small: bool = False) -> Train:
    """`decode` of a train whose manifest has been read."""
    value = value or b""
    if zlib.crc32(value) != manifest.crc:
        raise BadRecord(f"the {len(value)} bytes of the train are not the ones that were sent (checksum)")
    cars: list[Car] = []
    start = 0
    for entry in manifest.cars:
        piece = value[start : start + entry.bytes]
        start += entry.bytes
        try:
            car = _open(piece, entry.plain)
            if not small:
                car = as_batch(car)
        except (pa.ArrowException, StopIteration, OSError, ValueError) as error:
            raise BadRecord(f"car {entry.resource} cannot be read: {error}") from error
        if car.num_rows != entry.rows:
            raise BadRecord(f"car {entry.resource} has {car.num_rows} rows, manifest says {entry.rows}")
        cars.append(car)
    if start != len(value):
        raise BadRecord(f"train has {len(value)} bytes, manifest accounts for {start}")
    return Train(manifest, cars)


def _open(piece: bytes, plain: int) -> Car:
    if plain:
        piece = _unpacked(piece, plain)
    if piece[:1] == b"{":
        return load(piece)
    return unpack(piece)


def _unpacked(piece: bytes, size: int) -> bytes:
    if not 0 < size <= _LARGEST_CAR:
        raise ValueError(f"{size} bytes when opened")
    opened: bytes = _ZSTD.decompress(piece, decompressed_size=size, asbytes=True)
    return opened


def merge_seq(ranges: Iterable[Mapping[Lane, tuple[int, int]]]) -> dict[Lane, tuple[int, int]]:
    """The range that consecutive trains cover together, by lane."""
    merged: dict[Lane, tuple[int, int]] = {}
    for seq in ranges:
        for lane, (first, last) in seq.items():
            known = merged.get(lane)
            merged[lane] = (first, last) if known is None else (min(known[0], first), max(known[1], last))
    return merged


def _dump(manifest: Manifest) -> bytes:
    return orjson.dumps(
        {
            "station": manifest.station,
            "epoch": manifest.epoch,
            "captured": manifest.captured,
            "seq": {str(int(lane)): pair for lane, pair in manifest.seq.items()},
            "last": manifest.last.text() if manifest.last else None,
            "raw": manifest.raw,
            "crc": manifest.crc,
            "cars": [
                [
                    *(car.resource, int(car.lane), car.rows, car.ops, car.bytes),
                    *(car.held, car.filtered, car.unreadable, car.first_commit, car.last_commit, car.plain),
                ]
                for car in manifest.cars
            ],
        }
    )


def _load(data: dict[str, Any]) -> Manifest:
    return Manifest(
        station=data["station"],
        epoch=data["epoch"],
        captured=data["captured"],
        seq={Lane(int(lane)): (pair[0], pair[1]) for lane, pair in data["seq"].items()},
        last=Identity.parse(data["last"]) if data["last"] else None,
        raw=(data["raw"][0], data["raw"][1]) if data["raw"] else None,
        crc=data["crc"],
        cars=[CarEntry(car[0], Lane(car[1]), *car[2:]) for car in data["cars"]],
    )
