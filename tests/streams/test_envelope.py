"""Raw rows → the JSON a subscriber gets: golden, readable in tests/streams/golden/."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from datarail.contract import Resource
from datarail.position import Lane
from streams.clean import Cleaner
from streams.envelope import Envelope
from streams.unchanged import unchanged_items
from tests.streams.cars import GOOD, NOW, PERSON, car

GOLDEN = Path(__file__).with_name("golden")
BARE = dict.fromkeys(GOOD) | {"id": "1"}
REMARK = 1 << list(GOOD).index("remark")

CASES = {
    "changes": (
        car(
            [
                GOOD,
                GOOD | {"remark": None, "name": '引"号\\和\n换行', "income": None},
                GOOD | {"remark": None, "name": "𠮷野·家"},
                BARE,
                dict.fromkeys(GOOD),
            ],
            ops="cuudt",
            unchanged=[None, None, REMARK.to_bytes(2, "little"), None, None],
        ),
        PERSON,
    ),
    "snapshot": (car([GOOD, GOOD | {"id": "2"}], ops="rr", lane=Lane.SNAPSHOT), PERSON),
    "without_a_key": (
        car([{"b": "t", "f": "1.5"}, {"b": "", "f": "NaN"}]),
        Resource.model_validate({"table": "t", "items": {"b": {"type": "boolean"}, "f": {"type": "float"}}}),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    batch, resource = CASES[name]
    cleaned = Cleaner(resource).clean(batch, NOW)
    made = Envelope("police.hukou", "person", resource)
    records = made.records(cleaned.frame, 1_777_000_000_123, unchanged_items(cleaned.batch)).pairs()
    pairs = zip(records.keys, records.values, strict=True)
    lines = [f"{'-' if key is None else key.decode()}\t{value.decode()}" for key, value in pairs]
    assert lines == (GOLDEN / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    for value in records.values:
        orjson.loads(value)
