"""The history sink on a real ClickHouse and a real Kafka."""

from __future__ import annotations

from typing import Any

import pytest
from contract import Killed, SinkContract
from trains import Maker, Row, create_topic, new_station, person, send

from datarail.errors import Terminal, Transient
from datarail.position import Lane
from datarail.settings import ClickHouse as Address
from datarail.settings import Settings
from datarail.topics import train as train_topic
from sinks.clickhouse import ClickHouse
from sinks.history import landing, open_sink
from sinks.planned import PlannedSink
from sinks.port import Sink


def cut_clickhouse(sink: Sink, after: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink's ClickHouse does what it is asked, `after` times, and then its answers are lost."""
    assert isinstance(sink, PlannedSink)
    real, calls = sink.store._send, 0

    def send_and_lose(*args: Any) -> bytes:
        nonlocal calls
        calls += 1
        if calls > after:
            raise error
        answer = real(*args)
        if calls == after:
            raise error
        return answer

    monkeypatch.setattr(sink.store, "_send", send_and_lose)


class TestHistory(SinkContract):
    steps = range(1, 14)

    def open(self, settings: Settings, station: str) -> Sink:
        return open_sink(settings, {})

    def state(self, settings: Settings, station: str) -> object:
        store = ClickHouse(settings.clickhouse)
        rows = store.rows(
            "SELECT _lane, _seq, _op, _pos, _idx, _part, _key, _w_age, age, name, _held, _partition, _offset "
            f"FROM history.`{station}.person` ORDER BY _partition, _lane, _seq"
        )
        store.close()
        return rows

    def cut(self, sink: Sink, after: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
        cut_clickhouse(sink, after, error, monkeypatch)

    def test_every_change_is_there_as_written_and_as_cleaned(self, servers: Settings) -> None:
        station, arrivals = self.trains(servers)
        sink = self.open(servers, station)
        self.feed(sink, station, arrivals)
        sink.close()
        assert len(self.state(servers, station)) == 17  # type: ignore[arg-type]

    def test_a_token_logged_without_its_rows_is_mended(
        self, servers: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """ClickHouse killed between its log of tokens and the block: the repeat must still land, also
        when the same happened to what was to mend it."""
        expected = self.peaceful(servers)
        station, arrivals = self.trains(servers)
        store = ClickHouse(servers.clickhouse)
        for last in ("person/", "mended/0", "mended/1"):
            sink = open_sink(servers, {})
            real = sink.store.insert

            def insert(table: str, rows: Any, token: str = "", real: Any = real, last: str = last) -> None:
                real(table, rows, token)
                if last in token:
                    raise Killed

            with monkeypatch.context() as patch:
                patch.setattr(sink.store, "insert", insert)
                with pytest.raises(Killed):
                    self.feed(sink, station, arrivals, portion=100)
            # The rows go (a delete leaves the log of tokens alone), as if they had never been written.
            store.command(
                f"ALTER TABLE history.`{station}.person` DELETE WHERE _seq > 2", {"mutations_sync": 2}
            )
        store.close()
        again = open_sink(servers, {})
        self.feed(again, station, arrivals)
        assert self.state(servers, station) == expected
        again.close()

    def test_a_mark_logged_without_its_rows_is_written_again(self, servers: Settings) -> None:
        """ClickHouse killed between its log of blocks and the mark, which then comes with the same rows."""
        expected = self.peaceful(servers)
        station, arrivals = self.trains(servers)
        sink = open_sink(servers, {})
        marks = self.feed(sink, station, arrivals)
        sink.close()
        topic = train_topic(station)
        store = ClickHouse(servers.clickhouse)
        store.command(f"ALTER TABLE history.mark DELETE WHERE topic = '{topic}'", {"mutations_sync": 2})
        store.close()
        again = open_sink(servers, {})
        assert {partition: again.resume(topic, partition) for partition in (0, 1)} == marks
        again.close()
        assert self.state(servers, station) == expected

    def test_two_processes_on_one_partition_do_not_both_land(self, servers: Settings) -> None:
        expected = self.peaceful(servers)
        station, arrivals = self.trains(servers)
        zombie, heir = open_sink(servers, {}), open_sink(servers, {})
        for sink in (zombie, heir):
            for partition in (0, 1):
                sink.resume(train_topic(station), partition)
        heir.write(arrivals[:2])
        heir.flush()
        zombie.write(arrivals[:3])
        with pytest.raises(Terminal, match="another history process"):
            zombie.flush()
        heir.write(arrivals[2:])
        heir.flush()  # what the zombie had planned is void and stands in nobody's way
        assert self.state(servers, station) == expected
        heir.close()
        zombie.close()

    def test_a_schema_that_changes_in_mid_stream(self, servers: Settings) -> None:
        station = new_station()
        create_topic(servers, train_topic(station))
        before = Maker(station, items=("id", "name", "note"))
        after = Maker(station, items=("id", "phone", "note"), seq=before.seq)
        arrivals = [
            before.arrival([Row("1", "c", {"id": "1", "name": "王五", "note": "长"})]),
            before.arrival([Row("1", "u", {"id": "1", "name": "王六", "note": ...})]),
        ]
        after.position, after.offset = before.position, before.offset
        arrivals.append(after.arrival([Row("1", "u", {"id": "1", "phone": "139", "note": ...})]))
        send(servers, arrivals)
        sink = open_sink(servers, {})
        sink.resume(train_topic(station), 0)
        sink.write(arrivals)
        sink.flush()
        sink.close()
        rows = ClickHouse(servers.clickhouse).rows(
            f"SELECT _w_name, _w_phone, _unchanged_items FROM history.`{station}.person` ORDER BY _seq"
        )
        assert rows == [["王五", None, []], ["王六", None, ["note"]], [None, "139", ["note"]]]

    def test_a_cleaned_type_that_changes_becomes_text(self, servers: Settings) -> None:
        station = new_station()
        create_topic(servers, train_topic(station))
        maker = Maker(station)
        sink = open_sink(servers, {})
        first = maker.arrival([person(1)])
        sink.resume(first.topic, 0)
        sink.write([first])
        sink.flush()
        second = maker.arrival([person(1)])
        car = second.train.cars[0]
        index = car.schema.get_field_index("age")
        second.train.cars[0] = car.set_column(index, "age", car.column("name"))
        sink.write([second])
        sink.flush()
        sink.write([maker.arrival([person(2)])])
        sink.flush()
        sink.close()
        rows = ClickHouse(servers.clickhouse).rows(
            f"SELECT age FROM history.`{station}.person` ORDER BY _seq"
        )
        assert rows == [["1"], ["张1"], ["2"]]

    def test_lanes_and_names_that_must_be_quoted(self, servers: Settings) -> None:
        station = new_station()
        create_topic(servers, train_topic(station))
        maker = Maker(station, resource="odd-Name_1", items=("编号", "a`b"))
        arrival = maker.arrival([
            Row("1", "r", {"编号": "1", "a`b": "x"}, lane=Lane.SNAPSHOT),
            Row("1", "u", {"编号": "1", "a`b": "y\n"}, lane=Lane.STREAM),
        ])  # fmt: skip
        sink = open_sink(servers, {})
        sink.resume(arrival.topic, 0)
        sink.write([arrival])
        mark = sink.flush()[arrival.topic, 0]
        sink.close()
        assert mark.seq == {Lane.STREAM: 1, Lane.SNAPSHOT: 1}
        rows = ClickHouse(servers.clickhouse).rows(
            f"SELECT _lane, `编号`, `a\\`b` FROM history.`{station}.odd-Name_1` ORDER BY _lane"
        )
        assert rows == [[0, "1", "y\n"], [1, "1", "x"]]


class TestHistoryInSeveralBlocks(TestHistory):
    """The same where a flush of one table is more than one insert."""

    steps = range(5, 21, 3)

    @pytest.fixture(autouse=True)
    def small_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(landing, "BLOCK_ROWS", 4)


def test_clickhouse_that_is_not_there_is_transient(servers: Settings) -> None:
    gone = servers.model_copy(update={"clickhouse": Address(tcp_port=1, http_port=1)})
    with pytest.raises(Transient, match="does not answer"):
        open_sink(gone, {}).resume("train.nobody.here", 0)
