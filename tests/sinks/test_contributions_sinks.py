"""The themes and indicators sinks hold what every sink must, and rise again from history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from contract import SinkContract
from trains import Maker, Row, contract_of, new_station, person

from datarail.contract import Contract
from datarail.indicators import Indicator
from datarail.position import Mark
from datarail.settings import Settings
from datarail.themes import read_themes
from datarail.topics import train as train_topic
from sinks.clickhouse import ClickHouse
from sinks.contributions import Contributions
from sinks.history import open_sink as open_history
from sinks.indicators.query import read
from sinks.indicators.sink import IndicatorsSink
from sinks.indicators.totals import RedisTotals
from sinks.port import Arrival, Sink
from sinks.redis_calls import connect
from sinks.themes.golden import Golden
from sinks.themes.sink import ThemesSink

_opened: list[ThemesSink | IndicatorsSink] = []


def contract(station: str) -> Contract:
    kinds = {"id": "integer", "name": "string", "age": "integer", "born": "date", "note": "string"}
    feed = {
        "store": "population",
        "key": "name",
        "fields": {"name": "name", "birth_date": "born", "status": "note"},
    }
    resource = {
        "items": {item: {"type": kind} for item, kind in kinds.items()},
        "feeds": [feed],
    }
    return Contract.model_validate(contract_of(station, resource))


def definitions(station: str) -> dict[str, Indicator]:
    of = {"station": station, "resource": "person"}
    return {
        "count": Indicator.model_validate({**of, "title": "人数", "by": ["name"]}),
        "age": Indicator.model_validate(
            {**of, "title": "年龄", "measure": "sum", "item": "age", "day": "born"}
        ),
    }


def bury() -> None:
    """Let go of what earlier sinks hold open, as the end of their processes would."""
    for sink in _opened:
        for part in sink._open.values():
            part.contributions.close()
    _opened.clear()


def lossy(
    owner: Any, name: str, counter: list[int], after: int, error: BaseException, patch: pytest.MonkeyPatch
) -> None:
    """From the `after`-th counted call on, the answer is lost; later calls do not happen."""
    real: Callable[..., Any] = getattr(owner, name)

    def call(*args: Any, **more: Any) -> Any:
        counter[0] += 1
        if counter[0] > after:
            raise error
        answer = real(*args, **more)
        if counter[0] == after:
            raise error
        return answer

    patch.setattr(owner, name, call)


class TestThemes(SinkContract):
    def open(self, settings: Settings, station: str) -> Sink:
        bury()
        sink = ThemesSink.of(settings, {station: contract(station)}, read_themes(settings.folder))
        _opened.append(sink)
        return sink

    def state(self, settings: Settings, station: str) -> object:
        client = connect(settings.redis)
        golden = {}
        for key in client.scan_iter(match="golden:{population/*", count=1000):
            for source, text in client.hgetall(key).items():
                entry = orjson.loads(text)
                if source.decode().startswith(f"{station}/") and "d" not in entry:
                    golden[key, source.decode().partition("/")[2]] = (entry["v"], entry["f"])
        client.close()
        store = ClickHouse(settings.clickhouse)
        rows = store.rows(
            "SELECT source_key, theme_key, toString(version), f_name, f_birth_date, f_status, _partition "
            "FROM theme.population_source FINAL WHERE station = {station:String} AND is_deleted = 0 "
            "ORDER BY source_key",
            station=station,
        )
        store.close()
        return golden, rows

    def cut(self, sink: Sink, after: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
        assert isinstance(sink, ThemesSink)
        counter = [0]
        for owner, name in (
            (sink._golden, "_call"),
            (sink._tables._store, "_send"),
            (Contributions, "put"),
        ):
            lossy(owner, name, counter, after, error, monkeypatch)

    def test_everything_lost_is_derived_from_history(self, servers: Settings) -> None:
        station, arrivals = self.trains(servers)
        sink = self.open(servers, station)
        self.feed(sink, station, arrivals)
        expected = self.state(servers, station)
        remember(servers, arrivals)
        assert isinstance(sink, ThemesSink)
        for partition in (0, 1):
            sink._open[train_topic(station), partition].contributions.wipe()
            forget(sink, station, partition)
        again = self.open(servers, station)
        assert {p: again.resume(train_topic(station), p).offset for p in (0, 1)} == {0: 4, 1: 2}
        assert self.state(servers, station) == expected
        again.close()


class TestIndicators(SinkContract):
    def open(self, settings: Settings, station: str) -> Sink:
        bury()
        sink = IndicatorsSink.of(settings, {station: contract(station)}, definitions(station))
        _opened.append(sink)
        return sink

    def state(self, settings: Settings, station: str) -> object:
        client = connect(settings.redis)
        found = read(client, definitions(station), {station: contract(station)})
        client.close()
        return {name: reading.values for name, reading in found.items()}

    def cut(self, sink: Sink, after: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
        counter = [0]
        for owner, name in ((RedisTotals, "add"), (Contributions, "put")):
            lossy(owner, name, counter, after, error, monkeypatch)

    def test_contributions_that_are_lost_are_derived_from_history(self, servers: Settings) -> None:
        station, arrivals = self.trains(servers)
        sink = self.open(servers, station)
        self.feed(sink, station, arrivals)
        expected = self.state(servers, station)
        # History knows less than Redis had counted: the rest comes from Kafka again.
        remember(servers, [arrival for arrival in arrivals if arrival.offset < 2])
        assert isinstance(sink, IndicatorsSink)
        for partition in (0, 1):
            sink._open[train_topic(station), partition].contributions.wipe()
        again = self.open(servers, station)
        assert again.resume(train_topic(station), 0).offset == 2
        self.feed(again, station, arrivals)
        assert self.state(servers, station) == expected
        again.close()

    def test_history_tells_of_truncates_and_what_was_not_sent(self, servers: Settings) -> None:
        station = new_station()
        maker = Maker(station)
        arrivals = [
            maker.arrival([person(number, op="c") for number in range(5)]),
            maker.arrival([Row(key="", op="t"), person(1, op="c"), person(2, op="c")]),
            maker.arrival(
                [person(1, written={"name": ..., "age": "50"}), person(2, held=True, written={"age": "9"})]
            ),
        ]
        remember(servers, arrivals)
        sink = self.open(servers, station)
        assert sink.resume(train_topic(station), 0).offset == 3
        assert self.state(servers, station) == {
            "count": {("张1",): 1, ("张2",): 1},
            "age": {("1980-01-02",): 52},
        }
        sink.close()


def remember(settings: Settings, arrivals: list[Arrival]) -> None:
    """Let the history sink land these trains."""
    history = open_history(settings, {})
    for topic, partition in sorted({(arrival.topic, arrival.partition) for arrival in arrivals}):
        assert history.resume(topic, partition) == Mark()
    history.write(arrivals)
    history.flush()
    history.close()


def forget(sink: ThemesSink, station: str, partition: int) -> None:
    """Redis loses the station's contributions and marks; ClickHouse keeps its own."""
    golden: Golden = sink._golden
    for key, fields in golden.sources(station, partition):
        if fields:
            golden.remove(key, fields)
    golden._client.delete(f"themes:{{{train_topic(station)}/{partition}}}")
