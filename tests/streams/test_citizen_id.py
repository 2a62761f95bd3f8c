"""GB 11643, column by column, against a plain reading of the standard one by one."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.rules import citizen_id as rule

TODAY = date(2026, 5, 20)
VALID = ["11010519491231002X", "360426199101010071"]


def reference(value: str, today: date = TODAY) -> int:
    """The standard, read plainly."""
    if len(value) != 18:
        return rule.LENGTH
    if any(c not in "0123456789" for c in value[:17]) or value[17] not in "0123456789X":
        return rule.CHARACTERS
    try:
        born = date(int(value[6:10]), int(value[10:12]), int(value[12:14]))
    except ValueError:
        return rule.BIRTH
    if born > today:
        return rule.FUTURE
    weights = [2 ** (17 - i) % 11 for i in range(17)]
    if "10X98765432"[sum(w * int(c) for w, c in zip(weights, value[:17], strict=True)) % 11] != value[17]:
        return rule.CHECK
    age = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
    unknown = rule.DIVISION if value[:2] not in rule.PROVINCES else 0
    return unknown | (rule.AGE if age > 120 else 0)


@st.composite
def nearly_right(draw: st.DrawFn) -> str:
    born = date(1850, 1, 1) + timedelta(days=draw(st.integers(0, 70_000)))
    body = draw(st.sampled_from(["110105", "330602", "990101", "810000"])) + born.strftime("%Y%m%d")
    body += f"{draw(st.integers(0, 999)):03d}"
    value = body + rule.check_character(body)
    if draw(st.booleans()):
        place = draw(st.integers(0, 17))
        value = value[:place] + draw(st.sampled_from("0123456789Xxa 张")) + value[place + 1 :]
    return value


@settings(deadline=None)
@given(
    st.lists(
        st.none() | nearly_right() | st.text(max_size=20) | st.text("0123456789X", min_size=18, max_size=18)
    )
)
def test_columns_agree_with_the_standard_read_plainly(values: list[str | None]) -> None:
    found = rule.judge(pl.Series(values, dtype=pl.String), TODAY).reasons.tolist()
    assert found == [0 if value is None else reference(value) for value in values]


@settings(deadline=None)
@given(st.lists(nearly_right(), min_size=1))
def test_right_ids_tell_sex_and_birth(values: list[str]) -> None:
    right = [value for value in values if not reference(value) & rule.HARD]
    verdicts = rule.judge(pl.Series(values), TODAY)
    born = [date(1970, 1, 1) + timedelta(days=int(days)) for days in verdicts.born]
    assert born == [date(int(v[6:10]), int(v[10:12]), int(v[12:14])) for v in right]
    assert verdicts.man.tolist() == [int(v[16]) % 2 == 1 for v in right]


@pytest.mark.parametrize("value", VALID)
def test_valid_examples_of_the_standard(value: str) -> None:
    assert rule.judge(pl.Series([value]), TODAY).reasons.tolist() == [0]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("110105194912310021", rule.CHECK),
        ("1101051949123100", rule.LENGTH),
        ("11010519491231002x", rule.CHARACTERS),
        ("11010519490231002X", rule.BIRTH),
        ("11010519000229002X", rule.BIRTH),
        ("", rule.LENGTH),
    ],
)
def test_what_is_wrong_is_named(value: str, reason: int) -> None:
    assert rule.judge(pl.Series([value]), TODAY).reasons.tolist() == [reason]


def test_a_birth_to_come_is_refused_and_provinces_81_to_83_are_known() -> None:
    for body, reason in (
        ("33060220980101001", rule.FUTURE),
        ("81000019900101001", 0),
        ("83000019900101001", 0),
    ):
        assert rule.judge(pl.Series([body + rule.check_character(body)]), TODAY).reasons.tolist() == [reason]


def test_fifteen_digits_become_eighteen() -> None:
    assert rule.lengthen("110105491231002") == "11010519491231002X"
    assert rule.lengthen("110105981231996")[6:10] == "1898"


@settings(deadline=None)
@given(st.lists(nearly_right(), min_size=1, max_size=5), st.integers(1, 3))
def test_a_slice_of_a_column_is_judged_like_the_column(values: list[str], start: int) -> None:
    column = pl.Series(["x"] * start + values)[start:]
    assert rule.judge(column, TODAY).reasons.tolist() == [reference(value) for value in values]
