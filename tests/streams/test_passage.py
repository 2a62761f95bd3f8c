"""Raw trains → what is sent on: marks, repeats, gaps, what cannot be read, what makes Polars panic."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pytest

from datarail.contract import Resource
from datarail.errors import BadRecord
from datarail.position import Lane
from datarail.small_car import SmallCar
from datarail.train import Train, decode, encode, read_manifest
from streams import making, quarantine
from streams.clean import Cleaner
from streams.departure import Departure
from streams.marks import Gap, Passed
from streams.opening import Opened, RawRecord, give_up, halves, open_record
from streams.passage import Passage
from tests.streams.batch_reader import pairs
from tests.streams.cars import COMMIT, GOOD, PERSON, car, contract, small_car, train

AT = COMMIT + 5_000_000
BAD = GOOD | {"citizen_id": "110105194912310021"}


class Form:
    """How the raw cars of these tests are written: every test is run with both."""

    small = False


@pytest.fixture(autouse=True, params=["arrow", "small"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Form, "small", request.param == "small")


def record(batch: pa.RecordBatch, offset: int = 0, **more: Any) -> RawRecord:
    value, headers = train(batch, small=Form.small, **more)
    return RawRecord("raw.police.hukou", 0, offset, value, dict(headers))


def people(count: int, first_seq: int = 1, **more: Any) -> pa.RecordBatch:
    return car([GOOD | {"id": str(first_seq + i)} for i in range(count)], first_seq=first_seq, **more)


def opened(records: Sequence[RawRecord], passed: Passed) -> list[Opened]:
    return [open_record(each, "police.hukou", passed, AT) for each in records]


def depart(
    records: Sequence[RawRecord], passed: Passed | None = None, partition: int = 0
) -> tuple[Departure, Train]:
    passed = passed or Passed()
    way = Passage(contract({"person": PERSON}), lambda: AT)
    departure = way.depart(opened(records, passed), partition, passed)
    again = way.again(decode(departure.value, departure.headers, small=True), partition)
    if departure.at_once:
        assert _read(again) == {
            topic: [(key, orjson.loads(value)) for key, value in told]
            for topic, told in told_by(departure).items()
        }
    elif not departure.quarantined:
        assert again == {}
    return departure, decode(departure.value, departure.headers)


def told_by(departure: Departure) -> dict[str, list[tuple[bytes | None, bytes]]]:
    """Keys and values of all but the train, by topic."""
    return {topic: pairs(batches) for topic, batches in departure.batches.items()}


def _read(records: dict[str, Any]) -> dict[str, list[Any]]:
    return {
        topic: [(key, orjson.loads(value)) for key, value in zip(*pairs, strict=True)]
        for topic, pairs in records.items()
    }


def test_trains_are_joined_and_told() -> None:
    departure, clean = depart([record(people(2), 7), record(people(3, 3), 8)])
    assert clean.manifest.raw == (7, 9)
    assert clean.manifest.seq == {Lane.STREAM: (1, 5)}
    assert clean.manifest.last is not None and clean.manifest.last.position == 1005
    (entry,), (batch,) = clean.manifest.cars, clean.cars
    assert (entry.resource, entry.rows, entry.ops, entry.held) == ("person", 5, {"c": 5}, 0)
    assert batch.column("_key").to_pylist() == ["1", "2", "3", "4", "5"]
    (told,) = told_by(departure).items()
    assert (told[0], [key for key, _ in told[1]]) == ("clean.police.person", [b"1", b"2", b"3", b"4", b"5"])


def test_texts_that_cleaning_left_alone_travel_once() -> None:
    departure, clean = depart([record(people(200))])
    (entry,), (batch,) = clean.manifest.cars, clean.cars
    stream = pa.decompress(departure.value, entry.plain, codec="zstd")
    same = orjson.loads(pa.ipc.open_stream(stream).schema.metadata[b"same"])
    assert {"_key": "_w_id", "name": "_w_name"}.items() <= {name: other for _, name, other in same}.items()
    assert batch.schema.names[-len(PERSON.items) :] == list(PERSON.items)
    assert batch.column("name").equals(batch.column("_w_name"))


def test_held_changes_travel_in_the_train_but_not_to_subscribers() -> None:
    departure, clean = depart([record(car([GOOD, BAD | {"id": "2"}]))])
    marks = [mark for each in clean.cars for mark in each.column("_held").to_pylist()]
    assert marks == [False, True]
    assert sum(entry.held for entry in clean.manifest.cars) == 1
    told = told_by(departure)
    assert [key for key, _ in told["clean.police.person"]] == [b"1"]
    ((key, value),) = told["quarantine"]
    held = orjson.loads(value)
    assert key == b"police.hukou/person/2"
    assert held["written"]["citizen_id"] == "110105194912310021"
    assert held["cleaned"]["birth"] == "1949-12-31"
    assert [finding["rule"] for finding in held["findings"]] == ["citizen_id"]
    assert held["identity"] == {"epoch": 1, "position": 1002, "index": 0, "part": 0}


def test_the_mark_can_be_read_back_from_the_train() -> None:
    passed = Passed()
    first, _ = depart([record(people(2, lane=Lane.SNAPSHOT), 0)], passed)
    second, _ = depart([record(people(2), 1)], passed)
    assert Passed.of(second.manifest) == passed
    assert second.manifest.seq == {Lane.SNAPSHOT: (3, 2), Lane.STREAM: (1, 2)}
    assert Passed.of(None) == Passed()
    assert first.manifest.seq == {Lane.SNAPSHOT: (1, 2)}


def test_repeats_are_dropped_by_seq_and_an_empty_train_is_the_mark() -> None:
    passed = Passed()
    depart([record(people(3), 0)], passed)
    departure, clean = depart([record(people(3), 1), record(people(4), 2)], passed)
    assert clean.cars[0].column("_key").to_pylist() == ["4"]
    departure, clean = depart([record(people(4), 3)], passed)
    assert (clean.manifest.cars, clean.manifest.raw, departure.made) == ([], (3, 4), [])
    assert clean.manifest.seq == {Lane.STREAM: (5, 4)}
    assert [each.repeats for each in opened([record(people(4), 4)], passed)] == [4]


def test_gaps_are_told() -> None:
    passed = Passed()
    (first, second) = opened([record(people(3), 0), record(people(1, 6), 1)], passed)
    assert (first.gaps, second.gaps) == ([], [Gap(Lane.STREAM, 4, 5)])


def test_a_raw_topic_made_anew_counts_from_one_again() -> None:
    passed = Passed()
    opened([record(people(5))], passed)
    (again,) = opened([record(people(2), 0, epoch=2)], passed)
    assert (again.rows, again.repeats, again.gaps, passed.seq[Lane.STREAM]) == (2, 0, [], 2)


def test_a_corrupt_train_is_kept_whole_and_counted() -> None:
    good = record(people(3))
    assert good.value is not None
    corrupt = RawRecord(good.topic, 0, 0, good.value[:100] + b"\x00" + good.value[101:], good.headers)
    passed = Passed()
    departure, clean = depart([corrupt, record(people(2, 4), 1)], passed)
    ((key, value),) = departure.quarantined
    kept = orjson.loads(value)
    assert key == b"raw.police.hukou/0/0"
    assert base64.b64decode(kept["value"]) == corrupt.value
    assert "checksum" in kept["error"]
    assert kept["resources"] == {"person": 3}
    (entry,) = clean.manifest.cars
    assert (entry.rows, entry.unreadable) == (2, 3)
    assert passed.seq == {Lane.STREAM: 5}


def test_a_corrupt_train_alone() -> None:
    good = record(people(3))
    _, clean = depart([RawRecord(good.topic, 0, 0, b"", good.headers)])
    (entry,) = clean.manifest.cars
    assert (entry.rows, entry.unreadable, entry.counted) == (0, 3, 0)
    assert clean.cars[0].schema == depart([good])[1].cars[0].schema


@pytest.mark.parametrize("headers", [{}, {"datarail": b"9"}, {"datarail": b"1", "manifest": b"{"}])
def test_what_is_no_train_is_kept_whole(headers: dict[str, bytes]) -> None:
    departure, clean = depart([RawRecord("raw.police.hukou", 0, 4, b"hello", headers)])
    kept = orjson.loads(departure.quarantined[0][1])
    assert (kept["kind"], kept["offset"], kept["resources"]) == ("record", 4, {})
    assert (clean.manifest.cars, clean.manifest.raw) == ([], (4, 5))


def test_a_train_of_another_station_is_kept_whole() -> None:
    departure, _ = depart([record(people(1), station="tax.x")])
    assert "station" in orjson.loads(departure.quarantined[0][1])["error"]


def test_an_unknown_resource_arrives_as_written() -> None:
    departure, clean = depart([record(people(2), resource="gone")])
    assert clean.cars[0].column("_w_citizen_id").to_pylist() == [GOOD["citizen_id"]] * 2
    assert clean.manifest.cars[0].ops == {"c": 2}
    assert told_by(departure) == {}


def test_a_schema_changed_in_mid_stream_makes_another_car() -> None:
    fewer = [name for name in GOOD if name != "remark"]
    _, clean = depart(
        [record(people(2)), record(car([GOOD], items=fewer, first_seq=3), 1), record(people(1, 4), 2)]
    )
    assert [entry.rows for entry in clean.manifest.cars] == [2, 1, 1]


def test_truncates_count_once_over_all_partitions() -> None:
    batch = car([dict.fromkeys(GOOD)], ops="t")
    for partition, ops in ((0, {"t": 1}), (1, {})):
        _, clean = depart([record(batch, partition=partition)], partition=partition)
        assert (clean.manifest.cars[0].ops, clean.manifest.cars[0].rows) == (ops, 1)


class Panicking(Cleaner):
    """Polars panics on a car that holds the id 5."""

    def load(self, car: pa.RecordBatch, *more: Any) -> Any:
        if "5" in car.column("_w_id").to_pylist():
            raise pl.exceptions.PanicException("index out of bounds")
        return super().load(car, *more)


def test_a_panic_holds_the_row_at_fault_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not issubclass(pl.exceptions.PanicException, Exception)
    monkeypatch.setattr(making, "Cleaner", Panicking)
    monkeypatch.setattr(Form, "small", False)  # small cars in which all is well do not come there
    departure, clean = depart([record(people(9))])
    rows = [
        row for batch in clean.cars for row in batch.select(["_key", "_held", "_w_name", "name"]).to_pylist()
    ]
    assert [row["_key"] for row in rows] == [str(i) for i in range(1, 10)]
    assert [row["_key"] for row in rows if row["_held"]] == ["5"]
    assert (rows[4]["_w_name"], rows[4]["name"]) == ("张三丰", None)
    held = [value for made in departure.made for value in made.held[1]]
    assert [orjson.loads(value)["key"] for value in held] == ["5"]
    assert len({batch.schema for batch in clean.cars}) == 1


def test_a_bug_is_no_bad_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise AttributeError("a slip of ours")

    monkeypatch.setattr(Cleaner, "load", broken)
    monkeypatch.setattr(Form, "small", False)  # small cars in which all is well do not come there
    with pytest.raises(AttributeError):
        depart([record(people(2))])


def test_halves_cover_together_what_the_whole_did() -> None:
    passed = Passed()
    (whole,) = opened([record(people(5), 3)], passed)
    parts = halves(whole)
    assert parts is not None
    first, second = parts
    assert (first.raw, second.raw) == ((3, 3), (3, 4))
    assert (first.seq, second.seq) == ({Lane.STREAM: (1, 3)}, {Lane.STREAM: (4, 5)})
    assert (first.rows, second.rows) == (3, 2)
    assert halves(opened([record(people(1), 4)], Passed())[0]) is None


def test_a_change_too_large_as_json_is_held_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "LARGEST_RECORD", 2000)
    monkeypatch.setattr(quarantine, "LARGEST_RECORD", 2000)
    rows = [GOOD | {"id": str(i), "remark": "长" * (1100 if i == 3 else 1)} for i in range(1, 6)]
    departure, clean = depart([record(car(rows))])
    told = [row for batch in clean.cars for row in batch.select(["_key", "_held", "_w_remark"]).to_pylist()]
    assert [(row["_key"], row["_held"]) for row in told] == [(str(i), i == 3) for i in range(1, 6)]
    assert told[2]["_w_remark"] == "长" * 1100
    assert sum(entry.held for entry in clean.manifest.cars) == 1
    (held,) = [orjson.loads(value) for made in departure.made for value in made.held[1]]
    assert (held["key"], held["findings"][0]["rule"], held["shortened"]) == ("3", "size", True)
    assert held["written"]["remark"].startswith("长" * 1000 + "…")


def test_a_change_too_large_for_any_train_is_counted_and_passed() -> None:
    passed = Passed()
    (whole,) = opened([record(people(3), 4)], passed)
    part = halves(halves(whole)[0])[1]  # type: ignore[index]
    given = give_up(part, "police.hukou", "raw.police.hukou", 0, AT)
    assert (given.raw, given.seq, given.rows) == ((4, 4), {Lane.STREAM: (2, 2)}, 0)
    way = Passage(contract({"person": PERSON}), lambda: AT)
    departure = way.depart([given], 0, passed)
    (entry,) = decode(departure.value, departure.headers).manifest.cars
    assert (entry.rows, entry.unreadable) == (0, 1)
    told = orjson.loads(departure.quarantined[0][1])
    assert (told["offset"], told["resources"], "too large" in told["error"]) == (4, {"person": 1}, True)


def test_bad_record_says_what_is_wrong() -> None:
    with pytest.raises(BadRecord):
        decode(b"x", [("datarail", b"1"), ("manifest", b"{}")])


def test_what_no_connector_writes_is_no_small_car() -> None:
    for place, value in ((0, 300), (2, -1), (3, "1"), (9, "zz"), (10, 7)):
        odd = small_car(people(1))
        odd.rows[0][place] = value
        manifest = read_manifest(record(people(1)).headers)
        value_, headers = encode(manifest, [odd])
        departure, clean = depart([RawRecord("raw.police.hukou", 0, 0, value_, dict(headers))])
        assert clean.manifest.cars[0].unreadable == 1
        assert "no raw car has" in orjson.loads(departure.quarantined[0][1])["error"]


def test_small_cars_stay_small_where_all_is_well() -> None:
    value, headers = train(people(2), small=True)
    other, others = train(people(1, 3), small=Form.small)
    records = [RawRecord("raw.police.hukou", 0, 0, value, dict(headers))]
    records += [RawRecord("raw.police.hukou", 0, 1, other, dict(others))]
    departure, clean = depart(records)
    (one,) = decode(departure.value, departure.headers, small=True).cars
    assert isinstance(one, SmallCar) is Form.small
    assert clean.cars[0].column("_key").to_pylist() == ["1", "2", "3"]
    assert [key for key, _ in told_by(departure)["clean.police.person"]] == [b"1", b"2", b"3"]
    # A row that breaks a rule is held where it stands; one to be mended goes the long way alone.
    for odd, small in ((BAD, [True]), (GOOD | {"citizen_id": " 11010519491231002x"}, [True] * 3)):
        departure, clean = depart([record(car([GOOD, odd | {"id": "2"}, GOOD | {"id": "3"}]))])
        cars = decode(departure.value, departure.headers, small=True).cars
        assert [isinstance(each, SmallCar) for each in cars] == (small if Form.small else [False])
        assert departure.at_once is Form.small
        keys = [key for key, _ in told_by(departure)["clean.police.person"]]
        assert keys == ([b"1", b"3"] if odd is BAD else [b"1", b"2", b"3"])
        held = [key for made in departure.made for key in made.held[0]]
        assert held == ([b"police.hukou/person/2"] if odd is BAD else [])
        assert sum(entry.held for entry in clean.manifest.cars) == len(held)
        assert [made.held_by_rule for made in departure.made if made.held_by_rule] == (
            [{"citizen_id": 1}] if odd is BAD else []
        )
        assert [key for each in clean.cars for key in each.column("_key").to_pylist()] == ["1", "2", "3"]


def test_records_of_many_rows_are_told_in_order_beside_those_of_a_handful(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(making, "_WRITTEN", 100)
    monkeypatch.setattr(making, "_ONE_BY_ONE", 50)
    many = [(BAD if i in (5, 100, 101) else GOOD) | {"id": str(i)} for i in range(3, 303)]
    rest = [name for name in GOOD if name != "remark"]  # a changed schema begins another car
    records = [
        record(people(2)),
        record(car(many, first_seq=3, items=rest), 1),
        record(people(2, 303), 2),
        record(people(2, 305), 3, resource="other"),
    ]
    passed = Passed()
    way = Passage(contract({"person": PERSON, "other": PERSON}), lambda: AT)
    told = told_by(way.depart(opened(records, passed), 0, passed))
    held = [f"police.hukou/person/{i}".encode() for i in (5, 100, 101)]
    assert [key for key, _ in told["quarantine"]] == held
    expected = [str(i).encode() for i in range(1, 305) if i not in (5, 100, 101)]
    assert [key for key, _ in told["clean.police.person"]] == expected
    for key, value in told["clean.police.person"]:
        assert str(orjson.loads(value)["after"]["id"]).encode() == key
    assert [key for key, _ in told["clean.police.other"]] == [b"305", b"306"]


def test_a_resource_that_left_the_contract_or_changed_its_key_since_its_train() -> None:
    gone = car([GOOD, GOOD | {"id": "2"}], ops="cd")
    value, headers = train(gone, small=True)
    passed = Passed()
    raw = open_record(RawRecord("raw.police.hukou", 0, 0, value, dict(headers)), "police.hukou", passed, AT)
    departure = Passage(contract({"person": PERSON}), lambda: AT).depart([raw], 0, passed)
    clean = decode(departure.value, departure.headers, small=True)
    assert Passage(contract({"other": PERSON}), lambda: AT).again(clean, 0) == {}
    other = PERSON.model_dump() | {"key": ["id", "number"]}
    other["items"] = other["items"] | {"number": {"type": "string"}}
    keyed = Passage(contract({"person": Resource.model_validate(other)}), lambda: AT).again(clean, 0)
    assert [told["before"] for _, told in _read(keyed)["clean.police.person"]] == [None, {"id": 2}]
