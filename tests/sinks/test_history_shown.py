"""Rows of a light load can be read before they land, and read the same once they have."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from trains import Maker, Row, new_station, person

from datarail.position import Lane
from datarail.settings import Settings
from datarail.small_car import SmallCar, of_batch, shape, type_text
from sinks.clickhouse import ClickHouse
from sinks.history import open_sink
from sinks.history import sink as history_sink
from sinks.history.arriving import TABLE
from sinks.history.query import versions
from sinks.history.sink import HistorySink
from sinks.lateness import CATCHING_UP
from sinks.port import Arrival, Early

VALUES: dict[str, tuple[pa.DataType, Any]] = {
    "n": (pa.int64(), -(1 << 62)),
    "sum": (pa.decimal128(12, 2), "-12.50"),
    "born": (pa.date32(), "1949-10-01"),
    "open": (pa.bool_(), True),
    "at": (pa.timestamp("us", "UTC"), "1949-10-01T00:00:00.123456Z"),
    "share": (pa.float64(), 1e-7),
    "name": (pa.utf8(), '张三 "q" \\ \t\x1f'),
    "_odd": (pa.utf8(), ""),
}
SHAPE = shape(tuple(VALUES), tuple((name, type_text(kind)) for name, (kind, _) in VALUES.items()))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_sink, "EVERY", 0.0)


def small(arrival: Arrival) -> Arrival:
    """The arrival as it is when streams has cleaned it row by row."""
    train = arrival.train
    cars: list[Any] = [of_batch(car) if isinstance(car, pa.RecordBatch) else car for car in train.cars]
    assert all(isinstance(car, SmallCar) for car in cars)
    return replace(arrival, train=replace(train, cars=cars))


def opened(servers: Settings, maker: Maker) -> HistorySink:
    """A sink that has landed the resource's first row, so that its table is there."""
    sink = open_sink(servers, {})
    first = small(maker.arrival([person(0)]))
    sink.resume(first.topic, 0)
    sink.write([first])
    assert not sink.show() and sink.flush_every == sink.landing.fresh  # its table is not known yet
    sink.flush()
    return sink


def told(servers: Settings, station: str, key: str) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in each.items() if name != "landed"}
        for each in versions(servers, station, "person", key)
    ]


def test_shown_rows_read_as_they_will_when_they_have_landed(servers: Settings) -> None:
    maker = Maker(new_station())
    sink = opened(servers, maker)
    assert isinstance(sink, Early)
    finding = {"rule": "phone", "item": "phone", "value": "1", "message": "号码有误"}
    arrivals = [
        small(maker.arrival([person(1, op="c"), person(2, op="c", held=True, findings=[finding])])),
        small(maker.arrival([person(1, written={"note": ..., "name": None})])),
        small(maker.arrival([person(2, op="r", lane=Lane.SNAPSHOT), Row("1", "d", {"id": "1"})])),
    ]
    sink.write(arrivals[:2])
    assert sink.show() and not sink.show()  # once is enough
    sink.write(arrivals[2:])
    assert sink.show()
    # It waits because they are shown, not because they are late: else the loop would land them
    # as soon as nothing more is on its way.
    assert sink.flush_every == history_sink.SHOWN and not sink.late
    shown = [told(servers, maker.station, key) for key in "12"]
    assert [each["op"] for each in shown[0]] == ["c", "u", "d"]
    assert shown[0][1]["unchanged"] == ["note"]
    assert [each["held"] for each in shown[1]] == [True, False]
    store = ClickHouse(servers.clickhouse)
    landed = f"SELECT count() FROM history.`{maker.station}.person`"
    assert store.rows(landed) == [[1]]
    sink.flush()
    assert store.rows(landed) == [[6]]
    assert [told(servers, maker.station, key) for key in "12"] == shown
    assert store.rows(f"SELECT count() FROM live.`{maker.station}.person`") == [[6]]
    sink.close()


def test_every_type_reads_the_same(servers: Settings) -> None:
    maker = Maker(new_station())
    sink = opened(servers, maker)
    stamp = time.time_ns() // 1000
    for seq in (1, 2, 3):
        values = [value if seq < 3 else None for _, value in VALUES.values()]
        meta = [ord("u"), 0, seq, 3, (1 << 60) + seq, 1, 0, 7, stamp, "81" if seq == 2 else None]
        car = SmallCar(SHAPE, [[*meta, *["as written"] * len(VALUES), "k", False, None, *values]])
        arrival = maker.arrival([person(9)])
        sink.write([replace(arrival, train=replace(arrival.train, cars=[car]))])
        if seq == 1:
            sink.flush()  # the table has these columns from here on
    assert sink.show()
    columns = ", ".join(f"`{name}`" for name in SHAPE.schema.names if name != "_unchanged")
    ask = f"SELECT {columns}, hex(_unchanged), _unchanged_items FROM live.`{maker.station}.person` "
    ask += "WHERE _key = 'k' ORDER BY _seq"
    store = ClickHouse(servers.clickhouse)
    shown = store.rows(ask)
    assert len(shown) == 3
    assert shown[1][-2:] == ["81", ["n", "_odd"]]
    assert len(told(servers, maker.station, "k")) == 3
    sink.flush()
    assert store.rows(ask) == shown
    sink.close()


def test_shown_twice_is_there_once(servers: Settings) -> None:
    """A sink that was killed after a show reads the same trains again."""
    maker = Maker(new_station())
    sink = opened(servers, maker)
    arrival = small(maker.arrival([person(1, op="c")]))
    sink.write([arrival])
    assert sink.show()
    sink.close()
    again = open_sink(servers, {})
    again.resume(arrival.topic, 0)
    again.landing.tables = sink.landing.tables
    again.write([arrival])
    assert again.show()
    assert len(told(servers, maker.station, "1")) == 1
    count = f"SELECT count() FROM live.`{maker.station}.person`"
    assert ClickHouse(servers.clickhouse).rows(count) == [[2]]
    again.close()


def test_what_the_memory_lost_lands_all_the_same(servers: Settings) -> None:
    maker = Maker(new_station())
    sink = opened(servers, maker)
    sink.write([small(maker.arrival([person(1, op="c")]))])
    assert sink.show()
    ClickHouse(servers.clickhouse).command(f"TRUNCATE TABLE {TABLE}")  # as when the server starts anew
    assert told(servers, maker.station, "1") == []
    sink.flush()
    assert len(told(servers, maker.station, "1")) == 1
    sink.close()


def test_what_a_long_flush_made_late_waits_all_the_same(servers: Settings) -> None:
    """Else it would land soon for being late, in as many inserts, and make the next rows late too."""
    maker = Maker(new_station())
    sink = opened(servers, maker)
    now = time.time_ns() // 1000
    sink.write([small(maker.arrival([replace(person(1), commit=now - 3_000_000)]))])
    assert sink.show()
    assert sink.flush_every == history_sink.SHOWN and not sink.late
    sink.flush()
    # This late it is not what is new: it was an outage.
    sink.write([small(maker.arrival([replace(person(1), commit=now - 9_000_000)]))])
    assert sink.late and sink.flush_every == CATCHING_UP
    sink.flush()
    sink.close()


def test_larger_cars_land_at_once(servers: Settings) -> None:
    maker = Maker(new_station())
    sink = opened(servers, maker)
    sink.write([small(maker.arrival([person(1)])), maker.arrival([person(n) for n in range(40)])])
    assert not sink.show()
    assert sink.flush_every == sink.landing.fresh
    sink.flush()
    sink.write([small(maker.arrival([person(1)]))])
    assert sink.show()
    sink.close()


def test_many_small_cars_land_at_once(servers: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_sink, "MOST_SHOWN", 2)
    maker = Maker(new_station())
    sink = opened(servers, maker)
    sink.write([small(maker.arrival([person(n) for n in range(3)]))])
    assert not sink.show()
    assert sink.flush_every == sink.landing.fresh
    sink.close()
