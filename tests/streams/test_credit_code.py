"""GB 32100, column by column, against a plain reading of the standard one by one."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.rules import credit_code as rule

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def reference(value: str) -> int:
    if len(value) != 18:
        return rule.LENGTH
    if any(character not in ALPHABET for character in value):
        return rule.CHARACTERS
    total = sum(ALPHABET.index(c) * 3**i for i, c in enumerate(value[:17]))
    return 0 if ALPHABET.index(value[17]) == (31 - total % 31) % 31 else rule.CHECK


codes = st.text(ALPHABET, min_size=17, max_size=17).map(lambda body: body + rule.check_character(body))


@settings(deadline=None)
@given(st.lists(st.none() | codes | st.text(ALPHABET + "IOZSV张", min_size=17, max_size=19)))
def test_columns_agree_with_the_standard_read_plainly(values: list[str | None]) -> None:
    found = rule.judge(pl.Series(values, dtype=pl.String)).tolist()
    assert found == [0 if value is None else reference(value) for value in values]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("91110000600037341L", 0),
        ("11330600MB1573660P", 0),
        ("91110000600037342L", rule.CHECK),
        ("9111000060003734IL", rule.CHARACTERS),
        ("91110000", rule.LENGTH),
    ],
)
def test_examples(value: str, reason: int) -> None:
    assert rule.judge(pl.Series([value])).tolist() == [reason]
