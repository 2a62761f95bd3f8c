"""The quarantine's table: from the agent's records, each once, grouped by reason."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datarail.errors import BadRecord
from datarail.position import Mark
from datarail.settings import Settings
from datarail.train import Manifest, Train
from sinks.planned import PlannedSink
from sinks.port import Arrival
from sinks.quarantine.landing import COLUMNS, QuarantineLanding, open_checked, row
from sinks.quarantine.query import by_rule, held


def finding(rule: str, item: str, severity: str = "hard") -> dict[str, str]:
    return {
        "rule": rule,
        "item": item,
        "severity": severity,
        "dimension": "accuracy",
        "value": "1101**",
        "message": f"{item}不符合{rule}",
    }


def change(station: str, seq: int, *findings: dict[str, str], key: str = "7") -> dict[str, Any]:
    return {
        "kind": "change",
        "station": station,
        "resource": "person",
        "key": key,
        "op": "u",
        "lane": "stream",
        "identity": {"epoch": 1, "position": 500 + seq, "index": 0, "part": 0},
        "seq": seq,
        "partition": 1,
        "commit": 1_763_000_000_000_000,
        "captured": 1_763_000_000_000_100,
        "held": 1_763_000_000_000_200 + seq,
        "findings": list(findings),
        "written": {"id": "7", "name": "王\n'五"},
        "unchanged": ["note"],
        "cleaned": {"id": 7, "name": None},
    }


def unreadable(station: str, offset: int) -> dict[str, Any]:
    return {
        "kind": "record",
        "station": station,
        "topic": f"raw.{station}",
        "partition": 0,
        "offset": offset,
        "error": "the bytes are not the ones that were sent (checksum)",
        "resources": {"person": 12, "event": 3},
        "headers": {"datarail": "MQ=="},
        "value": "AAAA",
        "held": 1_763_000_000_000_000,
    }


def land(servers: Settings, station: str, records: list[dict[str, Any]]) -> None:
    """Through a topic of this test's own: the real one belongs to every test."""
    topic = f"quarantine.{uuid.uuid4().hex}"
    sink = PlannedSink(servers, QuarantineLanding())
    sink.resume(topic, 0)
    empty = Train(Manifest("", 0, 0), [])
    sink.write([Arrival(topic, 0, at, empty, orjson.dumps(record)) for at, record in enumerate(records)])
    assert sink.flush() == {(topic, 0): Mark(len(records))}
    sink.close()


def test_held_changes_and_unreadable_records_can_be_read_by_rule(servers: Settings) -> None:
    station = f"t{uuid.uuid4().hex[:8]}.sys"
    first = change(station, 1, finding("citizen_id", "id"), finding("mobile", "phone", "soft"))
    second = change(station, 2, finding("citizen_id", "id"), finding("required", "name"), key="8")
    land(servers, station, [first, second, unreadable(station, 5)])
    groups = {(group["rule"], group["resource"]): group for group in by_rule(servers, station)}
    assert set(groups) == {("citizen_id", "person"), ("required", "person"), ("unreadable", "")}
    ids = groups["citizen_id", "person"]
    assert (ids["changes"], ids["keys"], ids["example"]) == (2, 2, "id不符合citizen_id")
    assert groups["unreadable", ""]["lost"] == 15
    assert "checksum" in groups["unreadable", ""]["example"]
    (only,) = held(servers, station, rule="required")
    assert (only["key"], only["written"], only["unchanged"]) == ("8", second["written"], ["note"])
    assert [one["key"] for one in held(servers, station, resource="person")] == ["8", "7"]


def test_a_record_the_agent_wrote_twice_counts_once(servers: Settings) -> None:
    station = f"t{uuid.uuid4().hex[:8]}.sys"
    once = change(station, 1, finding("required", "name"))
    land(servers, station, [once, once, unreadable(station, 5), unreadable(station, 5)])
    assert {group["rule"]: group["changes"] for group in by_rule(servers, station)} == {
        "required": 1,
        "unreadable": 1,
    }


def test_a_topic_made_anew_counts_from_one_again_and_overwrites_nothing(servers: Settings) -> None:
    station = f"t{uuid.uuid4().hex[:8]}.sys"
    before = change(station, 1, finding("required", "name"))
    after = change(station, 1, finding("required", "name"), key="8")
    after["identity"] = {**after["identity"], "epoch": 2}
    land(servers, station, [before])
    land(servers, station, [after, after])
    assert sorted(one["key"] for one in held(servers, station)) == ["7", "8"]
    assert {group["rule"]: group["changes"] for group in by_rule(servers, station)} == {"required": 2}


def test_nothing_held_is_an_empty_list(servers: Settings) -> None:
    assert held(servers, "nobody.here") == by_rule(servers, "nobody.here") == []


@given(
    st.dictionaries(
        st.sampled_from(["kind", "station", "held", "findings"]), st.none() | st.text() | st.integers()
    )
)
def test_a_record_of_another_form_is_refused_by_name(record: dict[str, Any]) -> None:
    with pytest.raises(BadRecord):
        row(record, 0, 0)


def test_what_is_not_json_is_refused() -> None:
    class Record:
        topic, partition, offset, timestamp, value, headers = "quarantine", 0, 3, 0, b"{", ()

    with pytest.raises(BadRecord, match="not JSON"):
        open_checked(Record())


def test_a_row_has_every_column() -> None:
    assert set(row(change("a.b", 1), 0, 0)) == set(COLUMNS) == set(row(unreadable("a.b", 1), 0, 0))
