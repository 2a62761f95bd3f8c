"""The indicators sink on a real Redis, against totals counted plainly from the final rows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from trains import CLEANED, Maker, Row, contract_of, new_station

from datarail.contract import Contract
from datarail.errors import Terminal, Transient
from datarail.indicators import Indicator
from datarail.position import Lane, Mark
from datarail.settings import Settings
from datarail.topics import train as train_topic
from sinks.indicators.query import read
from sinks.indicators.sink import IndicatorsSink
from sinks.indicators.totals import mark_key, total_key
from sinks.port import Arrival
from sinks.redis_calls import connect

ITEMS = ("id", "kind", "place", "amount", "born")
CLEANED |= {"amount": pa.decimal128(18, 2), "born": pa.date32()}


def contract(station: str) -> Contract:
    items = {
        "id": {},
        "kind": {},
        "place": {},
        "amount": {"type": "decimal", "precision": 18, "scale": 2},
        "born": {"type": "date"},
    }
    return Contract.model_validate(contract_of(station, {"items": items}))


def definitions(station: str) -> dict[str, Indicator]:
    of = {"station": station, "resource": "person"}
    listed: dict[str, dict[str, Any]] = {
        "all": {"title": "总数"},
        "by_kind": {"title": "按类别", "by": ["kind"]},
        "sum_by_kind_day": {
            "title": "金额", "measure": "sum", "item": "amount", "by": ["kind"], "day": "born",
        },
        "only_x": {"title": "甲类", "by": ["place"], "where": {"kind": ["x"]}},
    }  # fmt: skip
    return {name: Indicator.model_validate(of | entry) for name, entry in listed.items()}


@dataclass
class Line:
    servers: Settings
    station: str = field(default_factory=new_station)
    sink: IndicatorsSink | None = None
    indicators: dict[str, Indicator] | None = None

    @property
    def topic(self) -> str:
        return train_topic(self.station)

    def open(self) -> IndicatorsSink:
        self.crash()
        self.indicators = self.indicators or definitions(self.station)
        self.sink = IndicatorsSink.of(self.servers, {self.station: contract(self.station)}, self.indicators)
        return self.sink

    def crash(self) -> None:
        if self.sink is not None:
            for part in self.sink._open.values():
                part.contributions.close()
            self.sink = None

    def feed(self, arrivals: list[Arrival], portion: int = 100) -> dict[tuple[str, int], Mark]:
        sink = self.sink or self.open()
        mark = sink.resume(self.topic, 0)
        left = [arrival for arrival in arrivals if arrival.offset >= mark.offset]
        for start in range(0, len(left), portion):
            sink.write(left[start : start + portion])
        return sink.flush()

    def values(self) -> dict[str, dict[tuple[str | None, ...], Any]]:
        client = connect(self.servers.redis)
        assert self.indicators is not None
        found = read(client, self.indicators, {self.station: contract(self.station)})
        client.close()
        return {name: reading.values for name, reading in found.items()}


@pytest.fixture
def line(servers: Settings) -> Iterator[Line]:
    line = Line(servers)
    yield line
    line.crash()


def row(number: int, kind: str | None = "x", **more: Any) -> Row:
    written = {"id": str(number), "kind": kind, "place": "p", "amount": "1.25", "born": "2024-05-03"}
    return Row(key=str(number), written=written | more.pop("written", {}), **more)


def maker(line: Line) -> Maker:
    return Maker(line.station, items=ITEMS)


def plainly(rows: list[dict[str, Any]]) -> dict[str, dict[tuple[str | None, ...], Any]]:
    """The reference: every indicator counted from the rows there are."""
    counted: dict[str, dict[tuple[str | None, ...], Any]] = {
        "all": {}, "by_kind": {}, "sum_by_kind_day": {}, "only_x": {},
    }  # fmt: skip

    def count(name: str, key: tuple[str | None, ...], value: Any) -> None:
        counted[name][key] = counted[name].get(key, 0) + value

    for entry in rows:
        count("all", (), 1)
        count("by_kind", (entry["kind"],), 1)
        count("sum_by_kind_day", (entry["kind"], entry["born"]), Decimal(entry["amount"] or 0))
        if entry["kind"] == "x":
            count("only_x", (entry["place"],), 1)
    return {name: {key: value for key, value in values.items() if value} for name, values in counted.items()}


def test_counts_and_sums_by_dimension_and_day(line: Line) -> None:
    line.feed([maker(line).arrival([row(1, op="c"), row(2, "y", op="c"), row(3, None, op="c")])])
    assert line.values() == {
        "all": {(): 3},
        "by_kind": {("x",): 1, ("y",): 1, (None,): 1},
        "sum_by_kind_day": {
            ("x", "2024-05-03"): Decimal("1.25"),
            ("y", "2024-05-03"): Decimal("1.25"),
            (None, "2024-05-03"): Decimal("1.25"),
        },
        "only_x": {("p",): 1},
    }


def test_an_update_takes_back_what_the_row_counted_and_a_delete_all_of_it(line: Line) -> None:
    trains = maker(line)
    arrivals = [trains.arrival([row(1, op="c"), row(2, op="c")])]
    arrivals.append(trains.arrival([row(1, "y", written={"amount": "-0.50"})]))
    line.feed(arrivals, portion=1)
    values = line.values()
    assert values["by_kind"] == {("x",): 1, ("y",): 1}
    assert values["sum_by_kind_day"][("y", "2024-05-03")] == Decimal("-0.5")
    arrivals.append(trains.arrival([row(1, op="d")]))
    line.feed(arrivals)
    assert line.values()["by_kind"] == {("x",): 1}


def test_a_held_change_does_not_count_and_the_row_keeps_what_it_counted(line: Line) -> None:
    trains = maker(line)
    line.feed([trains.arrival([row(1, op="c")]), trains.arrival([row(1, "y", held=True)])], portion=1)
    assert line.values()["by_kind"] == {("x",): 1}


def test_an_item_that_was_not_sent_counts_as_it_did(line: Line) -> None:
    trains = maker(line)
    arrivals = [trains.arrival([row(1, op="c")])]
    arrivals.append(trains.arrival([row(1, written={"kind": ..., "place": "q"})]))
    line.feed(arrivals, portion=1)
    values = line.values()
    assert values["by_kind"] == {("x",): 1}
    assert values["only_x"] == {("q",): 1}


def test_a_truncate_takes_all_away_and_what_is_older_stays_away(line: Line) -> None:
    trains = maker(line)
    arrivals = [trains.arrival([row(number, op="c") for number in range(9)])]
    truncate = Row(key="", op="t")
    arrivals.append(trains.arrival([row(20, op="c"), truncate, row(3, "y", op="c")]))
    arrivals.append(trains.arrival([row(4, pos=500, lane=Lane.SNAPSHOT, op="r")]))
    line.feed(arrivals, portion=1)
    assert line.values()["by_kind"] == {("y",): 1}
    line.open()
    line.feed(arrivals)
    assert line.values()["by_kind"] == {("y",): 1}


def test_totals_that_redis_lost_are_counted_again(line: Line) -> None:
    trains = maker(line)
    arrivals = [trains.arrival([row(1, op="c"), row(2, "y", op="c")])]
    line.feed(arrivals)
    before = line.values()
    client = connect(line.servers.redis)
    client.delete(mark_key(line.topic, 0), *(total_key(line.topic, 0, name) for name in before))
    arrivals.append(trains.arrival([row(2, "x")]))
    assert line.sink is not None
    with pytest.raises(Terminal, match="Redis is at"):
        line.sink.write(arrivals[1:])
    line.open()
    assert line.sink is not None and line.sink.resume(line.topic, 0).offset == 1
    assert line.values() == before
    line.feed(arrivals)
    assert line.values()["by_kind"] == {("x",): 2}


def test_contributions_that_are_lost_are_derived_anew(line: Line) -> None:
    trains = maker(line)
    arrivals = [trains.arrival([row(1, op="c")]), trains.arrival([row(1, "y"), row(2, op="c")])]
    line.feed(arrivals)
    before = line.values()
    assert line.sink is not None
    line.sink._open[line.topic, 0].contributions.wipe()
    line.open()
    line.feed(arrivals)  # there is no history here: all of it comes from Kafka
    assert line.values() == before


def test_a_new_indicator_counts_the_rows_that_are_there(line: Line) -> None:
    arrivals = [maker(line).arrival([row(1, op="c"), row(2, "y", op="c")])]
    line.feed(arrivals)
    assert line.indicators is not None
    line.indicators["by_place"] = line.indicators["by_kind"].model_copy(update={"by": ["place"]})
    del line.indicators["all"]
    line.open()
    line.feed(arrivals)
    assert line.values()["by_place"] == {("p",): 2}
    client = connect(line.servers.redis)
    assert not client.exists(total_key(line.topic, 0, "all"))


def test_an_answer_that_was_lost_is_not_counted_twice(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    sink, arrivals = line.open(), [maker(line).arrival([row(1, op="c")])]
    sink.resume(line.topic, 0)
    real = sink._totals.add

    def lost(*args: Any) -> Any:
        real(*args)
        raise Transient("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(sink._totals, "add", lost)
        with pytest.raises(Transient):
            sink.write(arrivals)
    sink.write(arrivals)
    assert line.values()["all"] == {(): 1}


def test_a_zombie_does_not_count(line: Line, tmp_path: Any) -> None:
    trains = maker(line)
    arrivals = [trains.arrival([row(1, op="c")]), trains.arrival([row(2, op="c")])]
    line.feed(arrivals[:1])
    elsewhere = line.servers.model_copy(update={"folder": tmp_path})
    zombie = IndicatorsSink.of(elsewhere, {line.station: contract(line.station)}, definitions(line.station))
    zombie.resume(line.topic, 0)
    zombie.write(arrivals)
    assert line.sink is not None
    with pytest.raises(Terminal):
        line.sink.write([arrivals[1], trains.arrival([row(3, op="c")])])
    assert line.values()["all"] == {(): 2}
    zombie.close()


CHANGE = st.tuples(
    st.sampled_from("uuuuuuuuddt"),
    st.integers(0, 3),
    st.sampled_from(["x", "y", None, ...]),
    st.sampled_from(["0.10", "12345678901.99", "-3", None, ...]),
    st.booleans() | st.just(False),
)


class Killed(BaseException):
    """Stands for kill -9."""


@settings(
    max_examples=80,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    trains=st.lists(st.lists(CHANGE, min_size=1, max_size=6), min_size=1, max_size=6),
    crashes=st.lists(st.tuples(st.integers(0, 8), st.integers(1, 3), st.booleans()), max_size=3),
    seed=st.integers(0, 1 << 30),
)
def test_whatever_happens_totals_are_those_of_the_final_rows(
    servers: Settings,
    trains: list[list[tuple[Any, ...]]],
    crashes: list[tuple[int, int, bool]],
    seed: int,
) -> None:
    line = Line(servers)
    made, arrivals = maker(line), []
    rows: dict[int, dict[str, Any]] = {}
    brought: dict[int, dict[str, Any]] = {}  # by held changes since the last good one
    for changes in trains:
        batch = []
        for op, number, kind, amount, held in changes:
            written: dict[str, Any] = {"kind": kind, "amount": amount}
            if number not in rows and number not in brought:  # only an update can leave an item out
                written = {
                    item: "x" if value is ... and item == "kind" else value for item, value in written.items()
                }
                written = {item: None if value is ... else value for item, value in written.items()}
            change = row(number, op=op, held=held and op == "u", written=written)
            if op == "t":
                change.key = ""
                rows.clear()
                brought.clear()
            elif op == "d":
                rows.pop(number, None)
                brought.pop(number, None)
            elif change.held:
                told = {item: value for item, value in change.written.items() if value is not ...}
                brought[number] = brought.get(number, {}) | told
            else:
                former = rows.get(number, {}) | brought.pop(number, {})
                rows[number] = {
                    item: former[item] if value is ... else value for item, value in change.written.items()
                }
            batch.append(change)
        arrivals.append(made.arrival(batch))
    rng = random.Random(seed)
    try:
        for steps, portion, before in crashes:
            _feed_and_kill(line, arrivals, portion, steps, before)
        line.open()
        line.feed(arrivals, portion=rng.randint(1, 4))
        assert line.values() == plainly(list(rows.values()))
    finally:
        line.crash()


def _feed_and_kill(line: Line, arrivals: list[Arrival], portion: int, steps: int, before: bool) -> None:
    """Die at the n-th write to a store, before or after it has happened."""
    sink = line.open()
    calls = 0

    def dying(call: Any) -> Any:
        def wrapped(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > steps and before:
                raise Killed
            answer = call(*args)
            if calls > steps:
                raise Killed
            return answer

        return wrapped

    mark = sink.resume(line.topic, 0)
    part = sink._open[line.topic, 0]
    sink._totals.add = dying(sink._totals.add)  # type: ignore[method-assign]
    part.contributions.put = dying(part.contributions.put)  # type: ignore[method-assign]
    left = [arrival for arrival in arrivals if arrival.offset >= mark.offset]
    try:
        for start in range(0, len(left), portion):
            sink.write(left[start : start + portion])
            if start % 2:
                sink.flush()
    except Killed:
        pass
