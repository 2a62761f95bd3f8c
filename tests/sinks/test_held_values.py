"""What a held change brought is not lost where the change that mends it leaves it out (TOAST).

themes and indicators on the real stores, fed with the same trains in every cut, small and large.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from trains import Maker, Row, contract_of, new_station

from datarail.contract import Contract
from datarail.indicators import Indicator
from datarail.position import Lane
from datarail.settings import Settings
from datarail.small_car import of_batch
from datarail.themes import read_themes
from datarail.topics import train as train_topic
from datarail.train import as_batch
from sinks.clickhouse import ClickHouse
from sinks.contributions import Contributions
from sinks.history import open_sink as open_history
from sinks.indicators.query import read
from sinks.indicators.sink import IndicatorsSink
from sinks.port import Arrival
from sinks.redis_calls import connect
from sinks.themes.lookup import lookup
from sinks.themes.sink import ThemesSink

ITEMS = ("id", "who", "name", "born")
THEMES = read_themes(Path("/nowhere"))


class Stands(NamedTuple):
    """One person, in a golden record and in the totals."""

    who: str
    name: str | None
    born: str | None


Case = tuple[list[Row], Stands | None]


def contract(station: str) -> Contract:
    feed = {"store": "population", "key": "who", "fields": {"name": "name", "birth_date": "born"}}
    resource = {
        "items": {"id": {}, "who": {}, "name": {}, "born": {"type": "date"}},
        "feeds": [feed],
    }
    return Contract.model_validate(contract_of(station, resource))


def definitions(station: str) -> dict[str, Indicator]:
    told = {"station": station, "resource": "person", "title": "人数", "by": ["name", "born"]}
    return {"people": Indicator.model_validate(told)}


@dataclass
class Line:
    """Both sinks of one station; `crash` leaves them as kill -9 would."""

    servers: Settings
    station: str = field(default_factory=new_station)
    sinks: list[ThemesSink | IndicatorsSink] = field(default_factory=list)

    @property
    def topic(self) -> str:
        return train_topic(self.station)

    def open(self) -> None:
        self.crash()
        contracts = {self.station: contract(self.station)}
        self.sinks = [
            ThemesSink.of(self.servers, contracts, THEMES),
            IndicatorsSink.of(self.servers, contracts, definitions(self.station)),
        ]

    def crash(self) -> None:
        for sink in self.sinks:
            for part in sink._open.values():
                part.contributions.close()
        self.sinks = []

    def feed(self, arrivals: list[Arrival], portion: int) -> None:
        if not self.sinks:
            self.open()
        for sink in self.sinks:
            mark = sink.resume(self.topic, 0)
            left = [arrival for arrival in arrivals if arrival.offset >= mark.offset]
            for start in range(0, len(left), portion):
                sink.write(left[start : start + portion])
            sink.flush()

    def check(self, expected: dict[str, Stands | None]) -> None:
        """What stands in Redis, SQL and the totals, by source key; None: nothing."""
        client, store = connect(self.servers.redis), ClickHouse(self.servers.clickhouse)
        golden: dict[str, Stands | None] = dict.fromkeys(expected)
        for key, who in product(expected, "AB"):
            record = lookup(client, "population", self.who(key, who), THEMES)
            if record is not None:
                told = {name: value["value"] for name, value in record["fields"].items()}
                golden[key] = Stands(who, told.get("name"), told.get("birth_date"))
        rows = store.rows(
            "SELECT source_key, theme_key, f_name, toString(f_birth_date) FROM theme.population_source FINAL "
            "WHERE station = {station:String} AND is_deleted = 0",
            station=self.station,
        )
        contracts = {self.station: contract(self.station)}
        totals = read(client, definitions(self.station), contracts)["people"].values
        client.close()
        store.close()
        assert golden == expected
        in_sql = {key: Stands(who[-1], name, born) for key, who, name, born in rows}
        assert dict.fromkeys(expected) | in_sql == expected
        assert totals == Counter((one.name, one.born) for one in expected.values() if one)

    def who(self, key: str, who: str) -> str:
        return f"{self.station}:{key}:{who}"

    def arrivals(self, cases: Mapping[str, Case], small: bool = False) -> list[Arrival]:
        """A train for each step that the cases take together; a case is a source key."""
        maker, arrivals = Maker(self.station, items=ITEMS), []
        for step in zip_longest(*([replace(row, key=key) for row in case[0]] for key, case in cases.items())):
            rows = []
            for row in filter(None, step):
                told = {"id": "1", "who": self.who(row.key, row.written["who"])} if row.written else {}
                rows.append(replace(row, written=row.written | told))
            if any(row.op == "t" for row in rows):  # it is everybody's
                rows = [replace(TRUNCATE), *(row for row in rows if row.op != "t")]
            arrivals.append(maker.arrival(rows))
            if small:
                cars = [of_batch(as_batch(car)) for car in arrivals[-1].train.cars]
                arrivals[-1].train.cars[:] = [car for car in cars if car is not None]
        return arrivals


@pytest.fixture
def line(servers: Settings) -> Iterator[Line]:
    line = Line(servers)
    yield line
    line.crash()


def person(op: str, name: Any, who: str = "A", **more: Any) -> Row:
    """A change of one person; name: ... is left out, and the date of birth with it."""
    born = ... if name is ... else None if name is None else DAY[name]
    return Row("", op, {} if op == "d" else {"who": who, "name": name, "born": born}, **more)


def held(op: str, name: Any, fault: str = "who", **more: Any) -> Row:
    """The same, held for an item's sake; "" for that of the whole change."""
    return person(op, name, "Z", held=True, findings=[{"item": fault, "severity": "hard"}], **more)


def stands(name: str | None, who: str = "A", born: str | None = None) -> Stands:
    day = born or name
    return Stands(who, name, None if day is None else DAY[day])


DAY = {"原": "1980-01-01", "甲": "1981-01-01", "乙": "1982-01-01"}
TRUNCATE = Row(key="", op="t")
C, U, R = "c", "u", "r"
#: What happens, a train each, and what stands in the end.
CASES: dict[str, Case] = {
    "inserted": ([held(C, "甲"), person(U, ...)], stands("甲")),
    "updated": ([person(C, "原"), held(U, "甲"), person(U, ...)], stands("甲")),
    "updated and moved": ([person(C, "原"), held(U, "甲"), person(U, ..., "B")], stands("甲", "B")),
    "updated to nothing": ([person(C, "原"), held(U, None), person(U, ...)], stands(None)),
    "not mended": ([person(C, "原"), held(U, "甲")], stands("原")),
    "mended whole": ([person(C, "原"), held(U, "甲"), person(U, "乙")], stands("乙")),
    "twice": ([held(C, "甲"), held(U, "乙"), person(U, ...)], stands("乙")),
    "twice, left out": ([held(C, "甲"), held(U, ...), person(U, ...)], stands("甲")),
    "left out": ([person(C, "原"), held(U, ...), person(U, ...)], stands("原")),
    "mended twice": ([held(C, "甲"), person(U, ...), person(U, ..., "B")], stands("甲", "B")),
    "held again": ([held(C, "甲"), person(U, ...), held(U, "乙"), person(U, ...)], stands("乙")),
    "deleted": ([held(C, "甲"), person("d", None), person(U, ...)], stands(None)),
    "only deleted": ([held(C, "甲"), person("d", None)], None),
    # What was at fault is never used; what came with it is.
    "at fault, inserted": ([held(C, "甲", "name"), person(U, ...)], stands(None, born="甲")),
    "at fault, updated": (
        [person(C, "原"), held(U, "甲", "name"), person(U, ...)],
        stands("原", born="甲"),
    ),
    "at fault, twice": ([held(C, "乙"), held(U, "甲", "name"), person(U, ...)], stands("乙", born="甲")),
    "as a whole": ([person(C, "原"), held(U, "甲", ""), person(U, ...)], stands("原")),
    # What comes late. An identity is one change's alone.
    "a late one": (
        [held(U, "甲", pos=9000), person(R, "原", pos=8000, lane=Lane.SNAPSHOT), person(U, ..., pos=9001)],
        stands("甲"),
    ),
    "a late held one": (
        [held(U, ..., pos=91000), held(R, "甲", pos=90000, lane=Lane.SNAPSHOT), person(U, ..., pos=91001)],
        stands("甲"),
    ),
    "a late one, known better": (
        [
            person(C, "乙", pos=93000),
            person(U, "甲", pos=93002),
            person(R, "原", pos=93001, lane=Lane.SNAPSHOT),
            person(U, ..., pos=93003),
        ],
        stands("甲"),
    ),
    "a late one, held better": (
        [
            person(C, "乙", pos=94000),
            held(U, "甲", pos=94002),
            person(R, "原", pos=94001, lane=Lane.SNAPSHOT),
            person(U, ..., pos=94003),
        ],
        stands("甲"),
    ),
    "mended by the contract": (
        [held(C, "甲", pos=92000), held(U, ..., pos=92001), person(U, ..., pos=92001, lane=Lane.REPLAY)],
        stands("甲"),
    ),
}
TRUNCATED: dict[str, Case] = {
    "before": ([held(C, "甲"), TRUNCATE, person(U, ...)], stands(None)),
    "after": ([person(C, "原"), TRUNCATE, held(C, "甲"), person(U, ...)], stands("甲")),
    "both": ([held(C, "原"), TRUNCATE, held(C, "甲"), held(U, ...), person(U, ...)], stands("甲")),
}

every_size = pytest.mark.parametrize("small", [False, True], ids=["large", "small"])


@pytest.mark.parametrize("portion", [1, 2, 100], ids=["one by one", "by two", "at once"])
@pytest.mark.parametrize("cases", [CASES, TRUNCATED], ids=["cases", "truncated"])
@every_size
def test_what_a_held_change_brought_stands_when_it_is_mended(
    line: Line, cases: dict[str, Case], portion: int, small: bool
) -> None:
    line.feed(line.arrivals(cases, small), portion)
    line.check({key: expected for key, (_, expected) in cases.items()})


@pytest.mark.parametrize("known", [1, 2, 3, 4])
@pytest.mark.parametrize("cases", [CASES, TRUNCATED], ids=["cases", "truncated"])
def test_rebuilt_from_history_it_is_the_same(line: Line, cases: dict[str, Case], known: int) -> None:
    arrivals = line.arrivals(cases)
    line.feed(arrivals, 1)
    # History knows some of it; the rest comes from Kafka again.
    history = open_history(line.servers, {})
    history.resume(line.topic, 0)
    history.write(arrivals[:known])
    history.flush()
    history.close()
    for sink in line.sinks:
        sink._open[line.topic, 0].contributions.wipe()
    line.open()
    line.feed(arrivals, 1)
    line.check({key: expected for key, (_, expected) in cases.items()})


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.mark.parametrize(("first", "again"), [(1, 1), (1, 100), (2, 1), (2, 3), (100, 1), (100, 2)])
@pytest.mark.parametrize("cases", [CASES, TRUNCATED], ids=["cases", "truncated"])
@every_size
def test_a_batch_that_comes_again_does_the_same(
    line: Line,
    cases: dict[str, Case],
    first: int,
    again: int,
    small: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrivals = line.arrivals(cases, small)
    put: Callable[..., None] = Contributions.put
    for writes in range(3):
        line.open()
        for sink in line.sinks:
            mark, left = sink.resume(line.topic, 0), [writes]

            def dying(*args: Any, left: list[int] = left, **more: Any) -> None:
                if not left[0]:  # Redis has been told, the contributions have not
                    raise Killed
                left[0] -= 1
                put(*args, **more)

            with monkeypatch.context() as patch, suppress(Killed):
                patch.setattr(Contributions, "put", dying)
                unread = [arrival for arrival in arrivals if arrival.offset >= mark.offset]
                for start in range(0, len(unread), first):
                    sink.write(unread[start : start + first])
    line.open()
    line.feed(arrivals, again)
    line.check({key: expected for key, (_, expected) in cases.items()})
