"""The look at bytes never misses a text that stripping would change."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.blanks import may_have

_EDGES = [
    *" \t\n\r\u0085\u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000",
    *("。", "《", "“", "张", "é", "𠮷", "a"),
]
TEXTS = st.lists(st.none() | st.text(max_size=5) | st.text(st.sampled_from(_EDGES), max_size=4), max_size=20)


@settings(deadline=None)
@given(TEXTS, st.integers(0, 3))
def test_nothing_is_missed(texts: list[str | None], start: int) -> None:
    values = pa.array(texts, pa.utf8()).slice(min(start, len(texts)))
    series = pl.Series(values.to_pylist(), dtype=pl.String)
    stripped = series.str.strip_chars()
    if not may_have(values):
        assert stripped.to_list() == series.to_list()
        assert "" not in stripped.to_list()


@pytest.mark.parametrize("text", ["张三", "《条例》", "“已办结”。", "é", "𠮷", "a b", "张　三"])
def test_usual_texts_are_let_through(text: str) -> None:
    assert not may_have(pa.array([text, None, "1"]))
