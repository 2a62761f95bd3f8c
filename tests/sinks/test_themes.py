"""The themes sink on real Redis and ClickHouse, against a plain model of the final state."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from trains import Maker, Row, contract_of, new_station

from datarail.contract import Contract
from datarail.errors import Terminal, Transient
from datarail.position import Lane, Mark
from datarail.settings import Settings
from datarail.themes import read_themes
from datarail.topics import train as train_topic
from sinks.clickhouse import ClickHouse
from sinks.port import Arrival
from sinks.redis_calls import connect
from sinks.themes import making
from sinks.themes.changes import Changes, Sets
from sinks.themes.golden import Turn
from sinks.themes.lookup import lookup
from sinks.themes.sink import ThemesSink

ITEMS = ("id", "who", "name", "mobile", "born")
THEMES = read_themes(Path("/nowhere"))
COMMIT = 1_700_000_000_000_000


def contract(station: str, **more: Any) -> Contract:
    resource = {
        "items": {"id": {}, "who": {}, "name": {}, "mobile": {}, "born": {"type": "date"}},
        "feeds": [
            {
                "store": "population",
                "key": "who",
                "fields": {"name": "name", "mobile": "mobile", "birth_date": "born"},
            }
        ],
    }
    return Contract.model_validate(contract_of(station, resource | more))


@dataclass
class Line:
    """One station's sink with its stores; `crash` leaves it as kill -9 would."""

    servers: Settings
    station: str = field(default_factory=new_station)
    sink: ThemesSink | None = None
    contract: Contract | None = None

    def open(self) -> ThemesSink:
        self.crash()
        self.contract = self.contract or contract(self.station)
        self.sink = ThemesSink.of(self.servers, {self.station: self.contract}, THEMES)
        return self.sink

    def crash(self) -> None:
        if self.sink is not None:
            for part in self.sink._open.values():
                part.contributions.close()
            self.sink = None

    def feed(self, arrivals: list[Arrival], portion: int = 100) -> dict[tuple[str, int], Mark]:
        sink = self.sink or self.open()
        mark = sink.resume(train_topic(self.station), 0)
        left = [arrival for arrival in arrivals if arrival.offset >= mark.offset]
        for start in range(0, len(left), portion):
            sink.write(left[start : start + portion])
        return sink.flush()

    def who(self, name: str) -> str:
        return f"{self.station}:{name}"

    def golden(self, name: str) -> dict[str, Any] | None:
        client = connect(self.servers.redis)
        record = lookup(client, "population", self.who(name), THEMES)
        client.close()
        return record

    def values(self, name: str) -> dict[str, Any]:
        record = self.golden(name)
        return {} if record is None else {field: entry["value"] for field, entry in record["fields"].items()}

    def in_sql(self, name: str) -> dict[str, Any] | None:
        store = ClickHouse(self.servers.clickhouse)
        found = store.records(
            "SELECT * FROM theme.population WHERE citizen_id = {who:String}", who=self.who(name)
        )
        store.close()
        return found[0] if found else None


@pytest.fixture
def line(servers: Settings) -> Iterator[Line]:
    line = Line(servers)
    yield line
    line.crash()


def row(line: Line, number: int, who: str | None, **more: Any) -> Row:
    written = {"id": str(number), "who": None if who is None else line.who(who), "name": f"名{number}"}
    written |= {"mobile": "13900000000", "born": "1980-02-03"}
    return Row(key=str(number), written=written | more.pop("written", {}), **{"commit": COMMIT, **more})


def maker(line: Line) -> Maker:
    return Maker(line.station, items=ITEMS)


def test_a_golden_record_says_what_and_whence(line: Line) -> None:
    line.feed([maker(line).arrival([row(line, 1, "A", op="c")])])
    record = line.golden("A")
    assert record is not None
    assert record["title"] == "人口综合库"
    assert record["fields"]["name"] == {
        "value": "名1",
        "title": "姓名",
        "source": {"station": line.station, "resource": "person", "key": "1"},
        "time": "2023-11-14T22:13:20.000000Z",
        "held": None,
    }
    in_sql = line.in_sql("A")
    assert in_sql is not None
    assert (in_sql["name"], in_sql["birth_date"]) == ("名1", "1980-02-03")
    assert in_sql["name_source"] == f"{line.station}/person/1"
    assert in_sql["name_time"].startswith("2023-11-14T22:13:20")
    assert in_sql["address"] is None and in_sql["address_source"] is None


def test_a_corrected_id_leaves_its_old_record(line: Line) -> None:
    trains = maker(line)
    line.feed([trains.arrival([row(line, 1, "A", op="c")]), trains.arrival([row(line, 1, "B")])], portion=1)
    assert line.golden("A") is None and line.in_sql("A") is None
    assert line.values("B")["name"] == "名1"
    assert line.in_sql("B") is not None


def test_a_delete_withdraws_only_its_own(line: Line) -> None:
    trains = maker(line)
    both = [row(line, 1, "A", op="c"), row(line, 2, "A", op="c", commit=COMMIT + 5)]
    line.feed([trains.arrival(both)])
    assert line.values("A")["name"] == "名2"  # the later commit
    line.feed([*[trains.arrival([row(line, 2, None, op="d")])]])
    assert line.values("A")["name"] == "名1"


def test_a_held_change_is_told_of_and_changes_nothing(line: Line) -> None:
    trains = maker(line)
    arrivals = [
        trains.arrival([row(line, 1, "A", op="c")]),
        trains.arrival([row(line, 1, "B", held=True, commit=COMMIT + 9, written={"name": "坏"})]),
    ]
    line.feed(arrivals)
    record = line.golden("A")
    assert record is not None and line.golden("B") is None
    assert record["fields"]["name"]["value"] == "名1"
    assert record["fields"]["name"]["held"] == record["held_since"] == "2023-11-14T22:13:20.000009Z"
    in_sql = line.in_sql("A")
    assert in_sql is not None and in_sql["name"] == "名1"
    assert in_sql["held_since"].startswith("2023-11-14T22:13:20.000009")
    arrivals.append(trains.arrival([row(line, 1, "A", written={"name": "好"})]))
    line.feed(arrivals)
    record, in_sql = line.golden("A"), line.in_sql("A")
    assert record is not None and in_sql is not None
    assert record["held_since"] is None and in_sql["held_since"] is None
    assert record["fields"]["name"]["value"] == in_sql["name"] == "好"


def test_a_mended_change_has_its_own_identity_and_still_wins_over_the_held_one(line: Line) -> None:
    trains = maker(line)
    held = row(line, 1, "A", held=True, pos=2000, written={"name": "坏"})
    mended = row(line, 1, "A", pos=2000, lane=Lane.REPLAY, written={"name": "补"})
    line.feed(
        [trains.arrival([row(line, 1, "A", op="c")]), trains.arrival([held]), trains.arrival([mended])], 1
    )
    record = line.golden("A")
    assert record is not None and record["held_since"] is None
    assert record["fields"]["name"]["value"] == "补"


def test_an_older_change_that_comes_late_changes_nothing(line: Line) -> None:
    trains = maker(line)
    new, old = row(line, 1, "A", pos=9000), row(line, 1, "B", pos=8000, lane=Lane.SNAPSHOT)
    line.feed([trains.arrival([new]), trains.arrival([old])], portion=1)
    assert line.golden("B") is None and line.golden("A") is not None
    assert line.in_sql("B") is None and line.in_sql("A") is not None


def test_unchanged_items_keep_their_former_values(line: Line) -> None:
    trains = maker(line)
    line.feed([trains.arrival([row(line, 1, "A", op="c", written={"name": "原", "mobile": None})])])
    kept = {"name": ..., "who": ..., "born": ..., "mobile": "13811112222"}
    line.feed([trains.arrival([row(line, 1, "A", written=kept)])])
    assert line.values("A") == {"name": "原", "mobile": "13811112222", "birth_date": "1980-02-03"}
    in_sql = line.in_sql("A")
    assert in_sql is not None
    assert (in_sql["name"], in_sql["mobile"], in_sql["birth_date"]) == ("原", "13811112222", "1980-02-03")


def test_unchanged_items_take_what_the_same_batch_brought(line: Line) -> None:
    trains = maker(line)
    rows = [row(line, 1, "A", op="c"), row(line, 1, "A", written={"name": "新"})]
    rows.append(row(line, 1, "A", written={"name": ..., "mobile": None}))
    line.feed([trains.arrival(rows)])
    assert line.values("A") == {"name": "新", "birth_date": "1980-02-03"}


def test_a_truncate_withdraws_all_that_is_older(line: Line) -> None:
    trains = maker(line)
    first = [row(line, number, "A", op="c") for number in range(5)]
    truncate = Row(key="", op="t", commit=COMMIT)
    line.feed([trains.arrival(first), trains.arrival([row(line, 7, "B", op="c"), truncate])], portion=1)
    for name in "AB":
        assert line.golden(name) is None and line.in_sql(name) is None
    line.feed([*[trains.arrival([row(line, 1, "A", op="c"), row(line, 9, "C", op="c", pos=500)])]])
    assert line.golden("A") is not None
    assert line.golden("C") is None and line.in_sql("C") is None  # older than the truncate


def test_texts_that_json_escapes_come_through(line: Line) -> None:
    odd = '引"号\\\n\t' + chr(0x20BB7) + "'"
    key = 'k"\\'
    line.feed([maker(line).arrival([row(line, 1, key, op="c", written={"name": odd})])])
    in_sql = line.in_sql(key)
    assert line.values(key)["name"] == odd
    assert in_sql is not None and in_sql["name"] == odd


def test_redis_that_lost_its_data_stops_the_sink_and_is_filled_again(line: Line) -> None:
    trains = maker(line)
    arrivals = [trains.arrival([row(line, 1, "A", op="c"), row(line, 2, "B", op="c")])]
    line.feed(arrivals)
    client = connect(line.servers.redis)
    for key in [
        *client.scan_iter(match=f"golden:{{population/{line.station}*"),
        *client.keys(f"themes:*{line.station}*"),
    ]:
        client.delete(key)
    arrivals.append(trains.arrival([row(line, 1, "A", written={"name": "二"})]))
    assert line.sink is not None
    with pytest.raises(Terminal, match="Redis has gone back"):
        line.sink.write(arrivals[1:])
    assert line.golden("A") is None
    line.open()
    line.feed(arrivals)  # there is no history here: all of it comes from Kafka
    assert (line.values("A")["name"], line.values("B")["name"]) == ("二", "名2")


def test_what_is_derived_anew_is_in_sql_again(line: Line) -> None:
    """Taken out of ClickHouse first, it comes with the very rows that were there before."""
    arrivals = [maker(line).arrival([row(line, 1, "A", op="c"), row(line, 2, "B", op="c")])]
    line.feed(arrivals)
    before = line.in_sql("A")
    assert before is not None
    client = connect(line.servers.redis)
    for key in client.keys(f"themes:*{line.station}*"):
        client.delete(key)
    client.close()
    line.open()
    line.feed(arrivals)
    assert line.in_sql("A") == before


def test_a_changed_contract_is_derived_anew_without_leftovers(line: Line) -> None:
    arrivals = [maker(line).arrival([row(line, 1, "A", op="c", written={"mobile": line.who("M")})])]
    line.feed(arrivals)
    feeds = [{"store": "population", "key": "mobile", "fields": {"name": "name"}}]
    line.contract = contract(line.station, feeds=feeds)
    line.open()
    line.feed(arrivals)
    assert line.golden("A") is None and line.in_sql("A") is None
    assert line.values("M") == {"name": "名1"}
    in_sql = line.in_sql("M")
    assert in_sql is not None and in_sql["name"] == "名1"


# -- random histories, killed anywhere, handed over in other portions


@dataclass
class Source:
    """The plain model: what each source key's row is, in the order of identity."""

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    held: dict[int, bool] = field(default_factory=dict)
    #: What held changes have brought since the last good one.
    brought: dict[int, dict[str, Any]] = field(default_factory=dict)

    def apply(self, change: tuple[Any, ...]) -> None:
        op, number, who, name, held = change
        if op == "t":
            self.rows.clear()
            self.held.clear()
            self.brought.clear()
        elif op == "d":
            self.rows.pop(number, None)
            self.held.pop(number, None)
            self.brought.pop(number, None)
        elif held:
            if number in self.rows:
                self.held[number] = True
            self.brought[number] = self.brought.get(number, {}) | ({} if name is ... else {"name": name})
        else:
            former = self.rows.get(number, {}) | self.brought.pop(number, {})
            self.rows[number] = {"who": who, "name": former.get("name") if name is ... else name}
            self.held[number] = False


CHANGE = st.tuples(
    st.sampled_from("uuuuuudt"),
    st.integers(0, 3),
    st.sampled_from(["A", "B", "C", None]),
    st.sampled_from(["甲", "乙", None, ...]),
    st.booleans() | st.just(False),
)


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.fixture(params=["key_by_key", "in_calls", "at_once"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether Redis is told of a batch of a few rows in several calls; and whether every store is told of
    each source key by itself, while the next is made ready, and ClickHouse of two rows at a time."""
    if request.param != "at_once":
        monkeypatch.setattr("sinks.themes.golden._RECORDS", 1)
    if request.param == "key_by_key":
        monkeypatch.setattr(making, "AT_ONCE", 1)
        monkeypatch.setattr("sinks.themes.rows.BLOCK_ROWS", 2)


@pytest.mark.usefixtures("pieces")
@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    trains=st.lists(st.lists(CHANGE, min_size=1, max_size=6), min_size=1, max_size=6),
    crashes=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 3)), max_size=3),
    seed=st.integers(0, 1 << 30),
)
@example(
    # The batch itself had the name that its last change leaves out; it comes again in two.
    trains=[[("u", 1, "A", "甲", False)], [("u", 1, "B", ..., False)]],
    crashes=[(1, 2), (3, 1)],
    seed=0,
)
@example(
    trains=[[("u", 1, "A", "甲", False)], [("u", 1, "B", ..., False)]],
    crashes=[(2, 2), (4, 1)],
    seed=0,
)
@example(
    # An update that leaves the name out moves to another record, having been overtaken on the way.
    trains=[
        [("u", 2, "A", "乙", False)],
        [("u", 2, "B", "甲", False), ("u", 2, None, "乙", False), ("u", 2, "A", "甲", False)],
        [("u", 2, "B", ..., False)],
    ],
    crashes=[(1, 1), (4, 1), (4, 1)],
    seed=2421,
)
@example(
    trains=[
        [
            ("t", 0, "B", "甲", False),
            ("u", 0, "C", ..., True),
            ("u", 3, "A", "甲", False),
            ("u", 1, "A", ..., False),
            ("u", 3, "C", ..., True),
            ("u", 2, "A", "乙", False),
        ],
        [
            ("u", 2, "B", "甲", False),
            ("u", 2, None, "乙", False),
            ("d", 1, None, "甲", True),
            ("u", 0, "B", None, True),
            ("u", 0, "A", None, False),
            ("u", 2, "A", "甲", False),
        ],
        [("u", 2, "B", ..., False), ("u", 1, "A", "乙", False)],
    ],
    crashes=[(1, 1), (4, 1), (4, 1)],
    seed=2421,
)
def test_whatever_happens_it_is_the_final_state(
    servers: Settings,
    trains: list[list[tuple[Any, ...]]],
    crashes: list[tuple[int, int]],
    seed: int,
) -> None:
    line = Line(servers)
    source, made, arrivals = Source(), maker(line), []
    for changes in trains:
        rows = []
        for op, number, who, name, held in changes:
            if op == "u" and name is ... and not {number} & (source.rows.keys() | source.brought.keys()):
                name = "甲"  # only an update can leave an item out
            change = (op, number, who, name, held and op == "u")
            source.apply(change)
            key = "" if op == "t" else str(number)
            commit = COMMIT + made.position
            rows.append(row(line, number, who, op=op, held=change[4], commit=commit, written={"name": name}))
            rows[-1].key = key
        arrivals.append(made.arrival(rows))
    rng = random.Random(seed)
    try:
        for steps, portion in crashes:
            _feed_and_kill(line, arrivals, portion, steps, rng)
        line.open()
        line.feed(arrivals, portion=rng.randint(1, 4))
        for who in "ABC":
            expected = {str(n): r["name"] for n, r in source.rows.items() if r["who"] == who}
            flagged = any(source.held[n] for n, r in source.rows.items() if r["who"] == who)
            _check(line, who, expected, flagged)
    finally:
        line.crash()


def _feed_and_kill(line: Line, arrivals: list[Arrival], portion: int, steps: int, rng: random.Random) -> None:
    """Die at the n-th write to a store, having applied a part of what was to be applied."""
    sink = line.open()
    calls = 0

    def dying(call: Any, partial: Any) -> Any:
        def wrapped(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > steps:
                partial(*args)
                raise Killed
            return call(*args)

        return wrapped

    mark = sink.resume(train_topic(line.station), 0)
    part = sink._open[train_topic(line.station), 0]
    golden = sink._golden
    apply, apply_some = golden.apply, golden.apply_some

    def some(changes: Changes, turn: Turn | None = None, *_: Any) -> None:
        # Of each record the first few: in a record they are applied in order.
        chosen, cut = Changes(), set()
        for keys, fields, texts, anew in changes.sets:
            told = pl.Series([rng.random() < 0.6 for _ in keys], dtype=pl.Boolean)
            cut |= {key.encode() for key in keys.filter(~told)}
            chosen.sets.append(Sets(keys.filter(told), fields.filter(told), texts.filter(told), anew))
        for change in changes.without_sets():
            if change[0] not in cut and rng.random() < 0.6:
                chosen.append(change)
            else:
                cut.add(change[0])
        if turn is None:
            apply(chosen)
        else:
            apply_some(chosen, turn)

    golden.apply = dying(golden.apply, some)  # type: ignore[method-assign]
    golden.apply_some = dying(golden.apply_some, some)  # type: ignore[method-assign]
    golden.apply_and_mark = dying(golden.apply_and_mark, some)  # type: ignore[method-assign]
    part.contributions.put = dying(part.contributions.put, lambda *_: None)  # type: ignore[method-assign]
    sink._tables.flush = dying(sink._tables.flush, lambda: None)  # type: ignore[method-assign]
    left = [arrival for arrival in arrivals if arrival.offset >= mark.offset]
    try:
        for start in range(0, len(left), portion):
            sink.write(left[start : start + portion])
            sink.flush()
    except Killed:
        pass


def _check(line: Line, who: str, expected: dict[str, str | None], flagged: bool) -> None:
    record, in_sql = line.golden(who), line.in_sql(who)
    if not expected:
        assert record is None and in_sql is None
        return
    assert record is not None and in_sql is not None
    assert record["contributions"] == in_sql["contributions"] == len(expected)
    assert (record["held_since"] is not None) == flagged == (in_sql["held_since"] is not None)
    chosen = record["fields"].get("name")
    if chosen is None:
        assert not [name for name in expected.values() if name is not None]
        assert in_sql["name"] is None
    else:
        assert expected[chosen["source"]["key"]] == chosen["value"] == in_sql["name"]
        assert in_sql["name_source"] == f"{line.station}/person/{chosen['source']['key']}"


@pytest.mark.parametrize("fails", [False, True])
def test_a_large_batch_is_told_part_by_part_and_its_mark_with_the_last(
    line: Line, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setattr(making, "AT_ONCE", 2)
    sink, made = line.open(), maker(line)
    sink.resume(train_topic(line.station), 0)
    golden, told = sink._golden, []
    apply_some, apply_and_mark = golden.apply_some, golden.apply_and_mark

    def part(changes: Changes, turn: Turn) -> None:
        told.append(len(changes))
        if fails and len(told) == 1:
            raise Transient("away", part="redis")
        apply_some(changes, turn)

    def last(changes: Changes, *place: Any) -> None:
        told.append(len(changes))
        apply_and_mark(changes, *place)

    monkeypatch.setattr(golden, "apply_some", part)
    monkeypatch.setattr(golden, "apply_and_mark", last)
    sink.write([made.arrival([row(line, number, "A") for number in range(5)])])
    if fails:
        with pytest.raises(Transient):
            sink.flush()
    [mark] = sink.flush().values()
    assert (told, mark.offset) == ([*([2] if fails else []), 2, 2, 1], 1)
    record = line.golden("A")
    assert record is not None and record["contributions"] == 5


def test_what_had_begun_when_the_process_ended_never_goes_back(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.themes.golden._RECORDS", 1)
    made = maker(line)
    before, older, newer = (
        made.arrival([row(line, 1, "A", written={"name": name}), row(line, 2, "B")])
        for name in ("甲", "乙", "丙")
    )
    line.feed([before])
    assert line.sink is not None
    apply_some = line.sink._golden.apply_some

    def die(changes: Changes, turn: Turn, *_: Any) -> None:
        apply_some(changes, turn)
        raise Killed

    monkeypatch.setattr(line.sink._golden, "apply_and_mark", die)
    with pytest.raises(Killed):
        line.feed([older, newer])
    assert line.values("A")["name"] == "丙"
    line.open()
    line.feed([older])  # it comes again, cut in another place
    assert line.values("A")["name"] == "丙"
    line.feed([older, newer])
    assert line.values("A")["name"] == "丙"


def test_a_store_that_is_away_is_said_to_be(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = line.servers.model_copy(update={"redis": "redis://127.0.0.1:1/0"})
    sink = ThemesSink.of(nowhere, {line.station: contract(line.station)}, THEMES)
    with pytest.raises(Transient, match="Redis"):
        sink.resume(train_topic(line.station), 0)
    sink.close()
