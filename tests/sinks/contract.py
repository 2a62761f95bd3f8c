"""What every sink must hold, whatever it lands: subclass SinkContract and say how to look.

The same changes are landed twice, once in peace (a twin station) and once through some mishap;
what can be read from the sink's stores afterwards must be the same.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod

import pytest
from trains import Maker, Row, create_topic, new_station, person, send

from datarail.errors import Transient
from datarail.position import Mark
from datarail.settings import Settings
from datarail.topics import train as train_topic
from sinks.port import Arrival, Sink


class Killed(BaseException):
    """Stands for kill -9: nothing of the sink's own runs after it."""


class SinkContract(ABC):
    """Tests for one sink. `open` makes it; `state` reads what it landed of a station, without
    the station's name in it; `cut` makes the sink's store fail."""

    @abstractmethod
    def open(self, settings: Settings, station: str) -> Sink: ...

    @abstractmethod
    def state(self, settings: Settings, station: str) -> object: ...

    @abstractmethod
    def cut(self, sink: Sink, after: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
        """From the `after`-th call on, the sink's store raises `error`, that call's effects
        having reached the store (the answer is lost, not the call)."""

    #: After how many calls to its store a sink is cut: every step of a flush, and beyond.
    steps = range(1, 12)

    def rows(self) -> list[list[list[Row]]]:
        """Trains of partition 0 and of partition 1: creates, updates, a key change, a delete."""
        one = [
            [person(number, op="c") for number in range(6)],
            [person(1, written={"age": "31"}), person(2, op="d")],
            [
                person(3, op="d", idx=5),
                person(33, op="c", idx=5, part=1),
                person(0, written={"name": "李四"}),
            ],
            [person(1, written={"age": "32"})],
        ]
        two = [[person(number, op="c") for number in range(100, 104)], [person(101, written={"age": "7"})]]
        return [one, two]

    def trains(self, settings: Settings) -> tuple[str, list[Arrival]]:
        """A new station whose trains are in Kafka, in the order the loop would bring them."""
        station = new_station()
        create_topic(settings, train_topic(station))
        arrivals = []
        for partition, trains in enumerate(self.rows()):
            maker = Maker(station, partition)
            arrivals += [maker.arrival(rows) for rows in trains]
        send(settings, arrivals)
        return station, arrivals

    def feed(self, sink: Sink, station: str, arrivals: list[Arrival], portion: int = 2) -> dict[int, Mark]:
        """What the loop does: go on from the marks, hand over in portions, flush; the marks."""
        marks = {partition: sink.resume(train_topic(station), partition) for partition in (0, 1)}
        left = [arrival for arrival in arrivals if arrival.offset >= marks[arrival.partition].offset]
        for start in range(0, len(left), portion):
            sink.write(left[start : start + portion])
            for (_, partition), mark in sink.flush().items():
                marks[partition] = mark
        return marks

    def peaceful(self, settings: Settings) -> object:
        station, arrivals = self.trains(settings)
        sink = self.open(settings, station)
        self.feed(sink, station, arrivals, portion=100)
        sink.close()
        return self.state(settings, station)

    def test_marks_are_where_the_trains_end_and_are_found_again(self, servers: Settings) -> None:
        station, arrivals = self.trains(servers)
        sink = self.open(servers, station)
        marks = self.feed(sink, station, arrivals)
        sink.close()
        ends = {partition: len(trains) for partition, trains in enumerate(self.rows())}
        assert {partition: mark.offset for partition, mark in marks.items()} == ends
        again = self.open(servers, station)
        assert {p: again.resume(train_topic(station), p) for p in (0, 1)} == marks
        again.close()

    def test_size_of_portions_does_not_matter(self, servers: Settings) -> None:
        expected = self.peaceful(servers)
        station, arrivals = self.trains(servers)
        sink = self.open(servers, station)
        self.feed(sink, station, arrivals, portion=1)
        sink.close()
        assert self.state(servers, station) == expected

    def test_a_batch_that_is_cut_otherwise_after_a_crash_counts_once(
        self, servers: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Killed after every step there is; the next life is handed other portions."""
        expected = self.peaceful(servers)
        for after in self.steps:
            station, arrivals = self.trains(servers)
            with monkeypatch.context() as patch:
                sink = self.open(servers, station)
                self.feed(sink, station, arrivals[:1])
                self.cut(sink, after, Killed(), patch)
                with contextlib.suppress(Killed):
                    self.feed(sink, station, arrivals, portion=3)
            again = self.open(servers, station)
            self.feed(again, station, arrivals, portion=2)
            again.close()
            assert self.state(servers, station) == expected, f"killed after step {after}"

    def test_a_store_that_is_away_is_transient_and_the_same_call_works_later(
        self, servers: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = self.peaceful(servers)
        for after in self.steps:
            station, arrivals = self.trains(servers)
            sink = self.open(servers, station)
            for partition in (0, 1):
                sink.resume(train_topic(station), partition)
            with monkeypatch.context() as patch:
                self.cut(sink, after, Transient("away", part="store"), patch)
                written, flushed = _tried(sink, arrivals)
            if not written:
                sink.write(arrivals)
            if not flushed:
                sink.flush()
            sink.close()
            assert self.state(servers, station) == expected, f"away after step {after}"


def _tried(sink: Sink, arrivals: list[Arrival]) -> tuple[bool, bool]:
    try:
        sink.write(arrivals)
    except Transient:
        return False, False
    try:
        sink.flush()
    except Transient:
        return True, False
    return True, True
