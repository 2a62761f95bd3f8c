"""A key's text is the same whether made one by one or for a whole car."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from datarail.keys import key_column, key_text, partition_of
from datarail.position import Identity, Mark

PART = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))


@given(
    st.integers(1, 3).flatmap(
        lambda width: st.lists(st.lists(PART, min_size=width, max_size=width), min_size=1)
    )
)
def test_column_and_scalar_agree(rows: list[list[str | None]]) -> None:
    names = [f"k{i}" for i in range(len(rows[0]))]
    frame = pl.DataFrame(
        {f"_w_{name}": [row[i] for row in rows] for i, name in enumerate(names)},
        schema={f"_w_{name}": pl.String for name in names},
    )
    made = frame.select(key_column(names))["_key"].to_list()
    assert made == [key_text(row, Identity(1, 2, 3)) for row in rows]


def test_without_a_key_each_change_is_its_own() -> None:
    frame = pl.DataFrame({"_epoch": [1], "_pos": [2], "_idx": [3], "_part": [0]})
    assert frame.select(key_column([]))["_key"].to_list() == [key_text([], Identity(1, 2, 3))] == ["1.2.3.0"]


@given(st.text(), st.text(), st.integers(1, 64))
def test_partitions_are_stable_and_in_range(resource: str, key: str, partitions: int) -> None:
    first = partition_of(resource, key, partitions)
    assert 0 <= first < partitions
    assert first == partition_of(resource, key, partitions)


def test_marks_are_written_and_read() -> None:
    mark = Mark.parse("17|0:5,2:9")
    assert Mark.parse(mark.text()) == mark
    assert Mark.parse(Mark().text()) == Mark()
