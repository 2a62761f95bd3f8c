"""The audit and the reading of history, on what the history sink really landed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trains import WRITTEN, Maker, Row, create_topic, new_station, person

from connectors.port import SourceRows
from connectors.postgres.audit import written_hash
from datarail.position import Lane
from datarail.settings import Settings
from datarail.topics import train as train_topic
from sinks.audit import Difference, Finding, compare, hash_sql, visible_sql
from sinks.clickhouse import ClickHouse, literal
from sinks.drain import behind
from sinks.history import open_sink
from sinks.history.query import as_of, versions
from sinks.ledger.query import Totals

#: Each example asks a real server: deadlines would only measure this machine.
asking = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def land(servers: Settings, rows: Sequence[Row], partitions: int = 1) -> str:
    station = new_station()
    create_topic(servers, train_topic(station))
    sink = open_sink(servers, {})
    for partition in range(partitions):
        maker = Maker(station, partition)
        arrival = maker.arrival(rows)
        sink.resume(arrival.topic, partition)
        sink.write([arrival])
    sink.flush()
    sink.close()
    return station


def source(rows: dict[str, list[str | None]]) -> pa.Table:
    hashes = [written_hash(values) for values in rows.values()]
    return pa.table({"key": pa.array(list(rows), pa.utf8()), "hash": pa.array(hashes, pa.int64())})


def texts(number: int, **changed: str | None) -> list[str | None]:
    return [(person(number).written | changed)[item] for item in WRITTEN]


def audit(
    servers: Settings, station: str, there: pa.Table, snapshot: str = "", keyed: bool = True
) -> tuple[int, int, int, int]:
    found = compare(servers, station, "person", WRITTEN, keyed, there, snapshot)
    return found.missing, found.extra, found.differing, found.twice


def test_what_landed_is_what_the_source_holds(servers: Settings) -> None:
    rows = [
        person(1, op="c", written={"note": "很长\n的: 备注"}),
        person(2, op="c"),
        person(3, op="r", lane=Lane.SNAPSHOT, pos=900, idx=1 << 40, written={"note": None}),
        person(1, written={"note": ..., "age": "32"}),  # TOAST: the note was not sent again
        person(2, op="d"),
        person(4, op="c", held=True),
    ]
    station = land(servers, rows)
    there = source({
        "1": texts(1, note="很长\n的: 备注", age="32"),
        "3": texts(3, note=None),
        "4": texts(4),
    })  # fmt: skip
    assert audit(servers, station, there) == (0, 0, 0, 0)
    wrong = source({"1": texts(1), "2": texts(2), "3": texts(3, note=None)})
    found = compare(servers, station, "person", WRITTEN, True, wrong, "")
    assert (found.missing, found.extra, found.differing) == (1, 1, 1)
    assert found.examples == {"missing": ["2"], "extra": ["4"], "differing": ["1"]}
    assert (found.source_rows, found.landed_rows) == (3, 3)


def test_a_null_that_was_sent_is_not_taken_for_unchanged(servers: Settings) -> None:
    rows = [
        person(1, op="c"),
        person(1, written={"note": None}),
        person(1, written={"note": ..., "age": "5"}),
    ]
    station = land(servers, rows)
    assert audit(servers, station, source({"1": texts(1, note=None, age="5")})) == (0, 0, 0, 0)


def test_truncate_ends_what_was_before_it_in_every_partition(servers: Settings) -> None:
    rows = [
        person(1, op="c"),
        Row("", "t", pos=5000, idx=7),
        person(2, op="c", pos=5000, idx=8),
    ]
    station = land(servers, rows)
    assert audit(servers, station, source({"2": texts(2)})) == (0, 0, 0, 0)
    # The same truncate once per partition is one change.
    again = land(servers, [Row("", "t", pos=5000, idx=7)], partitions=2)
    assert audit(servers, again, source({})) == (0, 0, 0, 0)


def test_under_load_only_what_the_snapshot_saw_is_compared(servers: Settings) -> None:
    rows = [person(1, op="c", xid=100), person(1, written={"age": "6"}, xid=105), person(2, op="c", xid=103)]
    station = land(servers, rows)
    before = source({"1": texts(1)})
    assert audit(servers, station, before, "102:106:103,105") == (0, 0, 0, 0)
    assert audit(servers, station, source({"1": texts(1), "2": texts(2)}), "102:106:105") == (0, 0, 0, 0)
    assert audit(servers, station, before, "106:106:") == (0, 1, 1, 0)


def test_tables_without_a_key_are_compared_as_bags(servers: Settings) -> None:
    twice = [person(1, op="c"), person(1, op="c"), person(2, op="c")]
    for number, row in enumerate(twice):
        row.key = f"1.{number}.0.0"
    station = land(servers, twice)
    bag = [written_hash(texts(number)) for number in (1, 2, 1)]
    there = pa.table({"key": pa.array([""] * 3), "hash": pa.array(bag, pa.int64())})
    assert audit(servers, station, there, keyed=False) == (0, 0, 0, 0)
    # A row taken away in the source is not followed, and is no fault.
    assert audit(servers, station, there.slice(1), keyed=False) == (0, 0, 0, 0)
    fewer = compare(servers, station, "person", WRITTEN, False, there.slice(1), "")
    assert fewer.unfollowed == 1 and fewer.none
    assert audit(servers, station, pa.concat_tables([there, there]), keyed=False) == (3, 0, 0, 0)


def test_a_change_that_stands_twice_is_told(servers: Settings) -> None:
    station = land(servers, [person(1, op="c", pos=7), person(1, op="c", pos=7)])
    assert audit(servers, station, source({"1": texts(1)})) == (0, 0, 0, 1)


def test_a_resource_nothing_landed_of_is_all_missing(servers: Settings) -> None:
    assert audit(servers, new_station(), source({"1": texts(1)})) == (1, 0, 0, 0)


def test_an_item_the_table_never_had_counts_as_null(servers: Settings) -> None:
    station = land(servers, [person(1, op="c")])
    values = source({"1": [*texts(1), None]})
    found = compare(servers, station, "person", [*WRITTEN, "added"], True, values, "")
    assert found.none


@asking
@given(st.lists(st.none() | st.text(max_size=12), min_size=1, max_size=6))
def test_the_hash_is_the_connectors(servers: Settings, values: list[str | None]) -> None:
    store = ClickHouse(servers.clickhouse)
    values = [value and value.replace("\0", "") for value in values]
    sql = [
        f"CAST({literal(value)}, 'Nullable(String)')"
        if value is not None
        else "CAST(NULL, 'Nullable(String)')"
        for value in values
    ]
    assert store.rows(f"SELECT {hash_sql(sql)}") == [[written_hash(values)]]
    store.close()


@asking
@given(st.integers(1, 12), st.sets(st.integers(4, 9), max_size=3))
def test_visibility_is_the_connectors(servers: Settings, xid: int, running: set[int]) -> None:
    snapshot = f"{min(running, default=8)}:10:{','.join(map(str, sorted(running)))}"
    store = ClickHouse(servers.clickhouse)
    sql = f"SELECT {visible_sql(snapshot)} FROM (SELECT {xid} AS _xid, 0 AS _lane)"
    assert store.rows(sql) == [[int(SourceRows(source({}), (), snapshot, 0).saw(xid))]]
    store.close()


def test_balanced_only_when_ledger_and_values_agree() -> None:
    clean = Difference("a.b", "person", 9, 9)
    sums = Totals("a.b", "person", 10, 9, 1, 0, 10, "")
    assert Finding(clean, sums).record()["balanced"] is True
    assert not Finding(clean, Totals("a.b", "person", 10, 8, 1, 0, 10, "")).balanced
    assert not Finding(Difference("a.b", "person", 9, 8, missing=1), sums).balanced


def test_what_is_behind_is_named() -> None:
    ends = {("train.a.b", 0): 5}
    assert behind(ends, {"sink-history": {("train.a.b", 0): 5}}) == []
    assert behind(ends, {"sink-themes": {}}) == ["sink-themes is 5 trains behind in train.a.b/0"]


def moment(day: int) -> int:
    return int(datetime(2026, 5, day, 12, tzinfo=UTC).timestamp() * 1e6)


def test_versions_and_the_record_as_it_stood_on_a_day(servers: Settings) -> None:
    station = land(
        servers,
        [
            person(1, op="c", commit=moment(1)),
            person(2, op="c", commit=moment(1)),
            person(1, written={"note": ..., "name": "张一"}, commit=moment(3)),
            person(1, op="d", commit=moment(5)),
            person(1, op="c", written={"name": "新"}, commit=moment(7)),
        ],
    )
    found = versions(servers, station, "person", "1")
    assert [version["op"] for version in found] == ["c", "u", "d", "c"]
    assert found[1]["unchanged"] == ["note"] and found[1]["written"]["note"] is None
    assert found[0]["cleaned"] == {"id": 1, "name": "张1", "age": 1, "born": "1980-01-02", "note": "备注"}

    def name_on(day: int) -> str | None:
        found = as_of(servers, station, "person", "1", datetime(2026, 5, day, 23, tzinfo=UTC))
        return found["written"]["name"] if found else None

    assert [name_on(day) for day in (1, 4, 6, 8)] == ["张1", "张一", None, "新"]
    standing = as_of(servers, station, "person", "1", datetime(2026, 5, 4, tzinfo=UTC))
    assert standing is not None and standing["written"]["note"] == "备注"
    assert [one["written"]["name"] for one in versions(servers, station, "person", "1", limit=1)] == ["新"]
    assert versions(servers, station, "nobody", "1") == []
