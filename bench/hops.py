"""How far each hop is, read from Kafka itself: ends of topics, last manifests, the sinks' offsets."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from datarail import topics
from datarail.errors import Terminal
from datarail.position import Lane
from datarail.settings import Settings
from datarail.train import Manifest, read_manifest
from sinks.registry import LANDING, group

Ends = Mapping[TopicPartition, int]
_EVERY = 0.2


@dataclass(frozen=True, slots=True)
class Sample:
    """Where things stood at one moment. at: time.time(); clean: records in all clean topics."""

    at: float
    raw: Ends
    train: Ends
    clean: int
    sinks: Mapping[str, Ends]


def reached(samples: Iterable[Sample]) -> dict[str, float]:
    """By hop (raw, train, clean, each sink): the time of the first sample in which it has all that
    the last sample has."""
    known = list(samples)
    last = known[-1]
    found: dict[str, float] = {}
    for sample in known:
        complete = {
            "raw": sample.raw == last.raw,
            "train": sample.train == last.train,
            "clean": sample.clean == last.clean,
            **{sink: covers(offsets, last.train) for sink, offsets in sample.sinks.items()},
        }
        for hop in (name for name, done in complete.items() if done):
            found.setdefault(hop, sample.at)
    return found


def covers(offsets: Ends, ends: Ends) -> bool:
    """Whether every partition's offset has come to its end."""
    return all(offsets.get(place, 0) >= end for place, end in ends.items())


class Hops:
    """Looks at one station. Reading costs the broker some milliseconds, so it is done 5 times a second."""

    def __init__(self, settings: Settings, station: str) -> None:
        self._consumer = KafkaConsumer(
            **settings.kafka_access.kafka_python(), enable_auto_commit=False, metadata_max_age_ms=5000
        )
        self._admin = KafkaAdminClient(**settings.kafka_access.kafka_python())
        self._settings = settings
        self._station = station
        self._raw = [TopicPartition(topics.raw(station), each) for each in range(settings.partitions)]
        self._train = [TopicPartition(topics.train(station), each) for each in range(settings.partitions)]

    def close(self) -> None:
        self._consumer.close()
        self._admin.close()

    def unready(self) -> list[str]:
        """Those of streams and sinks that have not taken up the station's partitions yet."""
        # Sinks say where they are as soon as they have placed themselves; Faust only later.
        groups = ["streams", *map(group, LANDING)]
        try:
            offsets = self._admin.list_group_offsets(dict.fromkeys(groups[1:]))
            members = self._admin.describe_groups(groups[:1])
        except KafkaError:
            return groups  # a broker's very first group has no coordinator yet
        placed = {name: sum(place in self._train for place in offsets.get(name, ())) for name in groups[1:]}
        placed["streams"] = _given(members.get("streams"), self._station)
        return [name for name in groups if placed[name] < len(self._raw)]

    def sample(self) -> Sample:
        """Sinks first: what they have passed, the topics have."""
        offsets = self._admin.list_group_offsets(dict.fromkeys(map(group, LANDING)))
        sinks = {
            sink: {
                place: mark.offset
                for place, mark in offsets.get(group(sink), {}).items()
                if place.topic == topics.train(self._station)
            }
            for sink in LANDING
        }
        at = time.time()
        train = self._ends(self._train)
        return Sample(at, self._ends(self._raw), train, sum(self._ends(self._clean()).values()), sinks)

    def captured(self, lane: Lane) -> int:
        """Changes of a lane in the raw topic so far: the partitions' last numbers together."""
        return self._numbered(self._raw, lane)

    def cleaned(self, lane: Lane) -> int:
        return self._numbered(self._train, lane)

    def follow(self, lane: Lane, changes: int, seconds: float, *, only_raw: bool = False) -> list[Sample]:
        """Sample until so many changes of the lane have come all the way (only_raw: to the raw
        topic); raises Terminal when they have not within `seconds`."""
        deadline = time.monotonic() + seconds
        samples = [self.sample()]
        while True:
            time.sleep(_EVERY)
            samples.append(self.sample())
            before, now = samples[-2:]
            if now.raw == before.raw and only_raw and self.captured(lane) >= changes:
                return samples
            landed = all(covers(offsets, now.train) for offsets in now.sinks.values())
            still = now.raw == before.raw and now.train == before.train
            if still and landed and not only_raw and self.cleaned(lane) >= changes:
                return samples
            if time.monotonic() > deadline:
                raise Terminal(
                    f"{self.captured(lane):,} of {changes:,} changes are captured, {self.cleaned(lane):,} "
                    f"cleaned after {seconds:.0f} s",
                    part="bench",
                )

    def numbers(self, lane: Lane) -> dict[int, int]:
        """By partition: the last number of a lane in the raw topic."""
        return {place.partition: self._last(place, lane) for place in self._raw}

    def landed(self, lane: Lane) -> dict[int, int]:
        """By partition: the last number of a lane that every landing sink has passed."""
        offsets = self._admin.list_group_offsets(dict.fromkeys(map(group, LANDING)))
        passed = {}
        for place in self._train:
            marks = [offsets.get(group(sink), {}).get(place) for sink in LANDING]
            offset = min(mark.offset if mark else 0 for mark in marks)
            manifest = self._manifest(place, offset - 1) if offset > 0 else None
            passed[place.partition] = manifest.seq[lane][1] if manifest and lane in manifest.seq else 0
        return passed

    def settle(self, lane: Lane = Lane.STREAM, seconds: float = 600.0) -> None:
        """Wait until nothing is captured any more and all that was has landed."""
        known = -1
        while (now := self.captured(lane)) != known:
            known = now
            time.sleep(2)
        self.follow(lane, known, seconds)

    def bytes(self, kind: str) -> int:
        """Bytes on disk of the topics of a kind: raw, train or clean."""
        logs = (self._settings.home / "data" / "kafka").glob(f"{kind}.*/*.log")
        return sum(log.stat().st_size for log in logs)

    def _numbered(self, places: list[TopicPartition], lane: Lane) -> int:
        return sum(self._last(place, lane) for place in places)

    def _last(self, place: TopicPartition, lane: Lane) -> int:
        manifest = self._last_manifest(place)
        if manifest is None or lane not in manifest.seq:
            return 0
        return manifest.seq[lane][1]

    def _last_manifest(self, place: TopicPartition) -> Manifest | None:
        end = self._ends([place])[place]
        return self._manifest(place, end - 1) if end else None

    def _manifest(self, place: TopicPartition, offset: int) -> Manifest:
        self._consumer.assign([place])
        self._consumer.seek(place, offset)
        for _ in range(50):
            for records in self._consumer.poll(timeout_ms=200, max_records=1).values():
                return read_manifest(records[0].headers)
        raise Terminal(f"{place.topic}/{place.partition} could not be read at {offset}", part="bench")

    def _ends(self, places: list[TopicPartition]) -> Ends:
        return dict(self._consumer.end_offsets(places)) if places else {}

    def _clean(self) -> list[TopicPartition]:
        prefix = f"clean.{self._station.partition('.')[0]}."
        return [
            TopicPartition(name, each)
            for name in sorted(self._consumer.topics())
            if name.startswith(prefix)
            for each in sorted(self._consumer.partitions_for_topic(name) or ())
        ]


def _given(described: object, station: str) -> int:
    """How many of the station's partitions the members of a group have been given."""
    members = described.get("members", []) if isinstance(described, dict) else []
    return sum(
        len(each["partitions"])
        for member in members
        for each in (member["member_assignment"] or {}).get("assigned_partitions", [])
        if topics.station_of(each["topic"]) == station
    )
