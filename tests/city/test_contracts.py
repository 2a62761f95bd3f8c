"""The sample contracts: valid, whole, and holding exactly the rows the generator calls bad."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from as_written import raw_car

from datarail.contract import Contract
from datarail.contract_file import read_contract, read_stations
from datarail.indicators import read_indicators
from datarail.settings import Settings
from datarail.themes import read_themes, unknown_fields
from examples.city import setup, wide
from examples.city.departments import DEPARTMENTS
from examples.city.draw import Draw
from examples.city.table import Table
from streams.clean import Cleaner

CITY = Path(setup.__file__).parent
CASES = [(department, table) for department in DEPARTMENTS for table in department.tables]
IDS = [table.resource for _, table in CASES]


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Contract]:
    settings = Settings.load(tmp_path_factory.mktemp("city"))
    written = setup.write_contracts(settings, "127.0.0.1", 5432)
    assert len(written) == 4 and setup.write_contracts(settings, "elsewhere", 1) == []
    stations = read_stations(settings.stations)
    assert len(read_indicators(settings.folder, stations)) == 9
    return stations


def test_every_department_is_a_station(contracts: dict[str, Contract]) -> None:
    assert sorted(contracts) == sorted(department.station for department in DEPARTMENTS)
    for department in DEPARTMENTS:
        contract = contracts[department.station]
        assert contract.name == next(iter(setup.publications(department)))
        assert list(contract.resources) == [table.resource for table in department.tables]
        assert contract.source.url == f"postgresql://datarail@127.0.0.1:5432/{department.database}"


@pytest.mark.parametrize(("department", "table"), CASES, ids=IDS)
def test_a_resource_tells_all_of_its_table(
    contracts: dict[str, Contract], department: setup.Department, table: Table
) -> None:
    resource = contracts[department.station].resources[table.resource]
    made = table.rows(Draw(1), np.arange(3, dtype=np.uint64)).frame
    assert (resource.table, tuple(resource.key)) == (table.name.replace('"', ""), table.key)
    assert list(resource.items) == made.columns
    schema = (CITY / "schema" / f"{department.code}.sql").read_text(encoding="utf-8")
    comments = dict(re.findall(rf"COLUMN {re.escape(table.name)}\.\"?(\w+)\"? IS '(.+)'", schema))
    assert {name: item.title for name, item in resource.items.items()} == comments
    assert f"COMMENT ON TABLE {table.name} IS '{resource.title}'" in schema


def test_feeds_fill_fields_their_stores_have(contracts: dict[str, Contract], tmp_path: Path) -> None:
    themes, fed = read_themes(tmp_path), set()
    for contract in contracts.values():
        for resource in contract.resources.values():
            for feed in resource.feeds:
                assert not unknown_fields(feed, themes[feed.store])
                fed.add(feed.store)
    assert fed == set(themes)


@pytest.mark.parametrize(("department", "table"), CASES, ids=IDS)
def test_cleaning_holds_the_bad_rows_and_no_other(
    contracts: dict[str, Contract], department: setup.Department, table: Table
) -> None:
    made = table.rows(Draw(3), np.arange(4000, dtype=np.uint64))
    cleaned = Cleaner(contracts[department.station].resources[table.resource]).clean(raw_car(made.frame))
    if table.resource == "visit":
        assert cleaned.filtered == (made.frame["zflx"] == "测试").sum() > 100
        return
    held = np.array(cleaned.batch.column("_held").to_pylist())
    bad = np.zeros(len(held), dtype=bool)
    for kind, fault in table.kinds.items():
        bad |= made.faults.has(kind) & fault.held
    findings = cleaned.batch.column("_findings").to_pylist()
    differing = np.flatnonzero(held != bad)[:3]
    assert not len(differing), [(made.frame.row(row), findings[row]) for row in differing]
    # What is not at fault is not flagged either: a contract that cries wolf is not read.
    cried = [json.loads(findings[row]) for row in np.flatnonzero(~made.faults.any()) if findings[row]]
    assert not cried, cried[:3]


def test_a_held_share_of_about_one_percent(contracts: dict[str, Contract]) -> None:
    held = sum(
        table.share * sum(fault.share for fault in table.kinds.values() if fault.held) for _, table in CASES
    )
    assert 0.01 < held / 1000 < 0.02


@pytest.mark.parametrize("n", [1, 32, 94])
def test_the_wide_contract_is_valid(tmp_path: Path, n: int) -> None:
    made = wide.tables(n)
    file = tmp_path / "bench.wide.yaml"
    text = wide.contract_text("postgresql://me:secret@localhost:5555/wide", made, password_file="x")
    file.write_text(text, encoding="utf-8")
    contract = read_contract(file)
    assert "secret" not in text and contract.source.url == "postgresql://me@localhost:5555/wide"
    assert len(contract.resources) == n
    assert all(len(resource.items) == 13 for resource in contract.resources.values())


@pytest.mark.parametrize("n", [0, 95])
def test_only_so_many_wide_tables(n: int) -> None:
    with pytest.raises(ValueError, match="1 to 94"):
        wide.tables(n)
