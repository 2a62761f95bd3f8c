"""What a draft makes of columns: names, comments and values tell."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from connectors.drafting import values
from connectors.drafting.contract_text import scalar
from connectors.drafting.feeding import cross_checks, feeds
from connectors.drafting.roles import role_of
from connectors.drafting.suggest import Sampled, item_type, suggest

IDS = ["11010519491231002X", "360426199101010071"]


def column(name: str, samples: list[str], comment: str = "", kind: str = "character varying(20)") -> Sampled:
    distinct = len(set(samples)) / len(samples) if samples else 0.0
    return Sampled(name, kind, comment, False, samples, distinct)


@pytest.mark.parametrize(
    ("name", "comment", "role"),
    [
        ("SFZH", "", "citizen_id"),
        ("gmsfhm", "", "citizen_id"),
        ("c7", "公民身份号码", "citizen_id"),
        ("lerepid", "法定代表人证件号码", "other_id"),
        ("XB", "", "sex"),
        ("CSRQ", "", "birth_date"),
        ("姓名", "", "person_name"),
        ("uniscid", "", "credit_code"),
        ("tyshxydm", "", "credit_code"),
        ("hjdz", "户籍地址", "address"),
        ("Mobile_No", "", "mobile"),
        ("frobnicate", "", None),
    ],
)
def test_roles(name: str, comment: str, role: str | None) -> None:
    found = role_of(name, comment)
    assert (found.name if found else None) == role


def test_check_digits() -> None:
    assert all(values.valid_citizen_id(text) for text in IDS)
    assert not values.valid_citizen_id("110105194912310021")
    assert values.valid_credit_code("91110000600037341L")
    assert values.valid_credit_code("11330600MB1573660P")
    assert not values.valid_credit_code("91110000600037342L")


def test_values_tell_more_than_names() -> None:
    assert suggest(column("x1", IDS)).checks == ["citizen_id"]
    assert suggest(column("x2", ["91110000600037341L"])).entry["meaning"] == "GB 32100"
    # a passport number in a column named like an id card's
    assert suggest(column("zjhm", ["E12345678", "G87654321"])).checks == []


def test_sex_spelled_its_own_way() -> None:
    item = suggest(column("xb", ["男", "男"]))
    assert item.entry["codes"] == {"男": "1", "女": "2"}
    assert item.checks == ["sex"]
    assert "codes" not in suggest(column("xb", ["1", "2"])).entry
    assert suggest(column("mz", ["汉族", "畲族"])).entry["codes"] == {"汉族": "01", "畲族": "22"}


def test_bad_samples_draft_a_soft_check() -> None:
    item = suggest(column("sfzh", [IDS[0], "110105194912310021", "110105194912310022"]))
    assert item.checks == [{"check": "citizen_id", "severity": "soft"}]
    assert item.note == "67% of the sample fail citizen_id"


def test_types() -> None:
    assert item_type("numeric(10,2)") == ("decimal", 10, 2)
    assert item_type("numeric") == ("decimal", None, None)
    assert item_type("timestamp(3) with time zone") == ("timestamp", None, None)
    assert item_type("integer[]") == ("string", None, None)
    assert item_type("geometry(Point,4490)") == ("string", None, None)
    assert suggest(column("rq", ["2020-01-01", "20200229", "2020年3月1日"])).entry["type"] == "date"


def test_person_feeds_population() -> None:
    columns = [
        column("SFZH", IDS),
        column("XM", ["张三", "李四"]),
        column("XB", ["男", "女"]),
        column("CSRQ", ["19491231"]),
    ]
    items = [suggest(each) for each in columns]
    cross_checks(items)
    assert items[0].checks == [{"check": "citizen_id", "sex": "XB", "birth": "CSRQ"}]
    assert feeds(items, {each.name: each.distinct for each in columns}) == [
        {"store": "population", "key": "SFZH", "fields": {"name": "XM", "sex": "XB", "birth_date": "CSRQ"}}
    ]


def test_events_of_persons_feed_nothing() -> None:
    columns = [column("SFZH", IDS * 50), column("XM", ["张三", "李四"]), column("XB", ["男"])]
    assert feeds([suggest(each) for each in columns], {each.name: each.distinct for each in columns}) == []


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc"))))
def test_scalars_read_back(text: str) -> None:
    assert yaml.safe_load(f"[{scalar(text)}]") == [text]
