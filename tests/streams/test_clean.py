"""Cleaning whole cars: the columns that come out, and the rows rules must not touch."""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson
import pyarrow as pa
import pytest

from datarail.columns import META
from datarail.contract import Resource
from datarail.keys import key_text
from datarail.position import Identity
from datarail.small_car import of_batch
from datarail.types import arrow_type
from streams.clean import Cleaned, Cleaner, carried
from tests.streams.cars import GOOD, NOW, PERSON, car


def clean(batch: pa.RecordBatch, resource: Resource = PERSON) -> Cleaned:
    return Cleaner(resource).clean(batch, NOW)


def findings(cleaned: Cleaned) -> list[list[tuple[str, str, str]]]:
    texts = cleaned.batch.column("_findings").to_pylist()
    return [
        [(found["rule"], found["item"], found["severity"]) for found in orjson.loads(text)] if text else []
        for text in texts
    ]


def test_columns_and_types_are_those_of_the_format() -> None:
    raw = car([GOOD, GOOD])
    batch = clean(raw).batch
    fresh = ["_key", "_held", "_findings", *PERSON.items]
    assert batch.schema.names == [*raw.schema.names, *fresh]
    assert batch.select(raw.schema.names).equals(raw)
    types = [pa.utf8(), pa.bool_(), pa.utf8()]
    types += [arrow_type(item.type, item.precision, item.scale) for item in PERSON.items.values()]
    assert batch.select(fresh).schema.types == types
    assert findings(clean(raw)) == [[], []]
    assert batch.column("birth")[0].as_py() == date(1949, 12, 31)


def test_no_rows_at_all() -> None:
    empty = clean(car([], items=list(PERSON.items))).batch
    assert empty.num_rows == 0
    assert empty.schema == clean(car([GOOD])).batch.schema


def test_held_rows_stay_with_their_reasons() -> None:
    bad = GOOD | {"citizen_id": "110105194912310021", "name": None}
    cleaned = clean(car([GOOD, bad]))
    assert cleaned.batch.column("_held").to_pylist() == [False, True]
    assert findings(cleaned)[1] == [("citizen_id", "citizen_id", "hard"), ("required", "name", "hard")]
    assert cleaned.held_by_rule == {"citizen_id": 1, "required": 1}


def test_deletes_and_truncates_bring_a_key_and_nothing_is_judged() -> None:
    full = GOOD | {"citizen_id": "wrong", "birth": "wrong", "name": None}
    bare = dict.fromkeys(GOOD) | {"id": "9"}
    cleaned = clean(car([full, bare, bare | {"id": None}], ops="ddt"))
    assert findings(cleaned) == [[], [], []]
    batch = cleaned.batch
    assert batch.column("_key").to_pylist() == ["1", "9", ""]
    assert batch.column("id").to_pylist() == [1, 9, None]
    assert batch.column("citizen_id").to_pylist() == [None] * 3
    assert batch.column("_w_citizen_id")[0].as_py() == "wrong"


def test_what_was_not_sent_is_not_missing() -> None:
    names = list(GOOD)
    index = names.index("name")
    bitmap = bytearray(2)
    bitmap[index // 8] |= 1 << index % 8
    rows = [GOOD | {"name": None}, GOOD | {"name": None}]
    cleaned = clean(car(rows, ops="uu", unchanged=[bytes(bitmap), None]))
    assert findings(cleaned) == [[], [("required", "name", "hard")]]
    assert cleaned.batch.column("_unchanged").to_pylist() == [bytes(bitmap), None]
    assert cleaned.batch.column("name").to_pylist() == [None, None]


def test_an_item_the_source_has_lost_is_told_once() -> None:
    cleaned = clean(car([GOOD] * 3, items=[name for name in GOOD if name != "name"]))
    assert findings(cleaned) == [[("schema", "name", "soft")], [], []]
    assert cleaned.missing == ("name",)
    assert cleaned.batch.column("name").to_pylist() == [None] * 3


def test_a_column_the_contract_does_not_know_is_carried() -> None:
    cleaned = clean(car([GOOD | {"extra": "e"}]))
    assert cleaned.batch.column("_w_extra").to_pylist() == ["e"]
    assert "extra" not in cleaned.batch.schema.names


def test_a_value_that_cannot_be_read_is_told_once() -> None:
    assert findings(clean(car([GOOD | {"id": "x"}]))) == [[("type", "id", "hard")]]


def test_padding_of_fixed_width_columns_is_no_finding() -> None:
    cleaned = clean(car([GOOD | {"name": "张三    ", "division": "330602  "}]))
    assert findings(cleaned) == [[]]
    assert cleaned.batch.column("name")[0].as_py() == "张三"


@pytest.mark.parametrize("values", [("a", "b"), ('a"', "b\\"), ("a\n", None), ("张", "")])
def test_keys_are_the_same_text_everywhere(values: tuple[str | None, ...]) -> None:
    resource = Resource.model_validate({"table": "t", "key": ["p", "q"], "items": {"p": {}, "q": {}}})
    batch = clean(car([dict(zip("pq", values, strict=True))]), resource).batch
    assert batch.column("_key").to_pylist() == [key_text(values, Identity(1, 1001, 0))]


def test_without_a_key_each_change_is_a_thing_of_its_own() -> None:
    resource = Resource.model_validate({"table": "t", "items": {"p": {}}})
    batch = clean(car([{"p": "1"}, {"p": "1"}]), resource).batch
    assert batch.column("_key").to_pylist() == ["1.1001.0.0", "1.1002.0.0"]


def test_names_with_a_leading_underscore() -> None:
    resource = Resource.model_validate({"table": "t", "key": "_op", "items": {"_op": {"type": "integer"}}})
    batch = clean(car([{"_op": "7"}]), resource).batch
    assert batch.column("__op").to_pylist() == [7]
    assert batch.column("_op").to_pylist() == [ord("c")]


ONLY = Resource.model_validate(
    {"table": "t", "key": "id", "only": {"kind": ["a", "b"]}, "items": {"id": {}, "kind": {}, "text": {}}}
)


def only(ops: str, *kinds: str | None, **more: Any) -> Cleaned:
    rows = [{"id": str(i), "kind": kind, "text": "t"} for i, kind in enumerate(kinds)]
    return clean(car(rows, ops=ops, **more), ONLY)


def test_only_leaves_out_what_was_not_agreed() -> None:
    cleaned = only("crcr", "a", "x", None, "b")
    assert (cleaned.filtered, cleaned.batch.column("_key").to_pylist()) == (2, ["0", "3"])


def test_a_car_of_which_nothing_is_left_is_empty() -> None:
    # Rules that are functions of Python meet columns without a row, today's date among them.
    agreed = PERSON.model_copy(update={"only": {"sex": ["女"]}})
    cleaned = Cleaner(agreed).clean(car([GOOD | {"sex": "男"}]))
    assert (cleaned.filtered, cleaned.batch.num_rows) == (1, 0)
    small = of_batch(cleaned.batch)
    assert small is not None and small.rows == []


def test_only_never_stops_what_takes_away() -> None:
    cleaned = only("udt", "x", None, None)
    assert cleaned.filtered == 0
    assert bytes(cleaned.batch.column("_op").to_pylist()) == b"ddt"
    # The values that were not agreed on do not leave with the key.
    assert cleaned.batch.column("_w_text").to_pylist()[0] is None
    assert cleaned.batch.column("_w_id").to_pylist()[0] == "0"


def test_only_lets_pass_what_cannot_be_told() -> None:
    cleaned = only("u", None, unchanged=[b"\x02"])
    assert (cleaned.filtered, chr(cleaned.batch.column("_op")[0].as_py())) == (0, "u")


def test_a_car_of_an_unknown_resource_is_carried_as_written() -> None:
    raw = car([{"p": "1"}])
    batch = carried(raw).batch
    assert batch.select(raw.schema.names).equals(raw)
    assert batch.column("_held").to_pylist() == [False]
    assert batch.schema.names == [*(name for name, _ in META), "_w_p", "_key", "_held", "_findings"]
