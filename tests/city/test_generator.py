"""The generator: the same rows every time, bad data in the shares it tells, people who meet."""

from __future__ import annotations

import numpy as np
import pytest

from examples.city.departments import DEPARTMENTS, sizes
from examples.city.draw import Draw
from examples.city.generate import made
from examples.city.table import Table, csv, literals

TABLES = [table for department in DEPARTMENTS for table in department.tables]
BY_NAME = {table.resource: table for table in TABLES}


@pytest.mark.parametrize("rows", [18, 100, 20_000, 1_000_003])
def test_sizes_add_up(rows: int) -> None:
    counts = sizes(rows)
    assert sum(counts.values()) == rows and min(counts.values()) >= 1 and len(counts) == 18


def test_too_small_a_city_is_refused() -> None:
    with pytest.raises(ValueError, match="18 tables"):
        sizes(17)


def test_shares_are_of_a_thousand() -> None:
    assert sum(table.share for table in TABLES) == 1000


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.resource)
def test_a_row_depends_on_seed_and_number_alone(table: Table) -> None:
    whole = table.rows(Draw(3), np.arange(400, dtype=np.uint64)).frame
    assert csv(whole) == csv(table.rows(Draw(3), np.arange(400, dtype=np.uint64)).frame)
    part = table.rows(Draw(3), np.arange(150, 160, dtype=np.uint64)).frame
    # Odd date spellings take turns by place in the block: the one thing that is not by number.
    columns = [name for name in whole.columns if name != "csrq"]
    assert literals(part.select(columns)) == literals(whole.slice(150, 10).select(columns))
    assert csv(whole) != csv(table.rows(Draw(4), np.arange(400, dtype=np.uint64)).frame)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.resource)
def test_updates_find_their_rows_by_key(table: Table) -> None:
    index = np.arange(50, dtype=np.uint64)
    rows = table.rows(Draw(3), index).frame.select(table.key) if table.key else None
    for change in (table.revise, table.correct):
        if change is not None and rows is not None:
            changed = change(Draw(3), index, 5)
            assert literals(changed.select(table.key)) == literals(rows)
            assert changed.width > len(table.key)
    if rows is not None:
        assert rows.is_unique().all()
        # Keys are the same for every seed, so that a load need not know the city's.
        assert literals(rows) == literals(table.rows(Draw(4), index).frame.select(table.key))


def test_bad_data_comes_in_the_share_told() -> None:
    for table in TABLES:
        faults = table.rows(Draw(3), np.arange(60_000, dtype=np.uint64)).faults.counts()
        for kind, fault in table.kinds.items():
            share = faults[kind] / 60_000
            if kind == "lower_case_x":  # only ids that end in X can have it
                assert share == pytest.approx(fault.share / 11, rel=0.3)
            elif kind == "fifteen_digits":  # only people born before 2000
                assert 0.3 * fault.share < share < 1.1 * fault.share
            else:
                assert share == pytest.approx(fault.share, rel=0.35), (table.resource, kind)


def test_pieces_count_their_faults() -> None:
    pieces = list(made(BY_NAME["person"], Draw(3), 60_000))
    assert len(pieces) == 2 and sum(data.count(b"\n") for data, _, _ in pieces) == 60_000
    whole = BY_NAME["person"].rows(Draw(3), np.arange(60_000, dtype=np.uint64)).faults.counts()
    assert {kind: sum(counts[kind] for _, counts, _ in pieces) for kind in whole} == whole


def test_departments_tell_of_the_same_people() -> None:
    counts, draw = sizes(20_000), Draw(3)

    def column(resource: str, name: str) -> set[str]:
        rows = BY_NAME[resource].rows(draw, np.arange(counts[resource], dtype=np.uint64)).frame
        return set(rows[name].drop_nulls().to_list())

    register = column("person", "sfzh")
    for resource, name in [
        *(("firm_person", "cerno"), ("firm", "lerepid"), ("event", "SBRSFZH")),
        *(("grid_worker", "sfzh"), ("visit", "sfzh"), ("id_card", "sfzh"), ("residence_permit", "sfzh")),
    ]:
        told = column(resource, name)
        assert len(told & register) > 0.9 * len(told), resource
    firms = column("firm", "uniscid")
    assert len(column("penalty", "uniscid") & firms) > 0.9 * counts["penalty"]
    assert column("event", "WGBM") <= column("grid", "wgbm")


def test_names_are_those_of_the_field() -> None:
    names = BY_NAME["person"].rows(Draw(3), np.arange(20_000, dtype=np.uint64)).frame["xm"].drop_nulls()
    assert names.str.contains("·").sum() > 20
    assert sum(any(ord(character) > 0xFFFF for character in name) for name in names) > 50
    assert names.str.strip_chars().str.len_chars().min() == 2
