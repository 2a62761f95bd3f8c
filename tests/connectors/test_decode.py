"""pgoutput decoding: whatever the server may send comes out as it went in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres import decode
from tests.connectors import pgoutput
from tests.connectors.pgoutput import UNCHANGED

VALUES = st.lists(st.one_of(st.none(), st.just(UNCHANGED), st.text()), max_size=30)


def shown(values: list[object]) -> list[bytes | None]:
    return [None if value is None or value is UNCHANGED else str(value).encode() for value in values]


@given(VALUES)
def test_tuple(values: list[object]) -> None:
    into: decode.Values = [b"before"]
    bits = decode.append_tuple(b"xx" + pgoutput.row(values), 2, into)
    assert into == [b"before", *shown(values)]
    assert [value is UNCHANGED for value in values] == [bool(bits >> i & 1) for i in range(len(values))]


@given(VALUES, VALUES, st.sampled_from([b"K", b"O"]))
def test_update_with_old(old: list[object], new: list[object], kind: bytes) -> None:
    data = pgoutput.update(7, new, old, kind)
    change = decode.update(data)
    assert (change.old, change.full) == (shown(old), kind == b"O")
    into: decode.Values = []
    decode.append_tuple(data, change.at, into)
    assert into == shown(new)


@given(VALUES)
def test_delete(old: list[object]) -> None:
    data = pgoutput.delete(7, old)
    decode.check_delete(data)
    into: decode.Values = []
    decode.append_tuple(data, 6, into)
    assert into == shown(old)
    assert decode.relation_of(pgoutput.delete(0xABCDEF01, old)) == 0xABCDEF01


def test_relation() -> None:
    table = decode.relation(pgoutput.relation(9, "", "户成员 M", ["户号", "b", "c"], ["户号", "c"], "f"))
    assert (table.oid, table.schema, table.name, table.replident) == (9, "pg_catalog", "户成员 M", "f")
    assert table.columns == ("户号", "b", "c")
    assert table.identity == (0, 2)


@given(
    st.integers(0, 2**64 - 1),
    st.integers(decode.PG_EPOCH, decode.PG_EPOCH + 2**60),
    st.integers(0, 2**32 - 1),
)
def test_begin_and_commit(position: int, at: int, xid: int) -> None:
    begin = decode.begin(pgoutput.begin(position, at, xid))
    assert (begin.position, begin.commit, begin.xid) == (position, at, xid)
    assert decode.commit_end(pgoutput.commit(1, position, at)) == position


def test_truncate() -> None:
    assert decode.truncated(pgoutput.truncate(1, 2**31, 3)) == [1, 2**31, 3]


@given(st.integers(0, 2**40), st.integers(-(2**31) + 1, 2**31 - 1))
def test_widen_finds_the_nearest(near: int, distance: int) -> None:
    wide = max(0, near + distance)
    assert decode.widen(wide & 0xFFFFFFFF, near) == wide


@pytest.mark.parametrize(
    "data", [b"I\0\0\0\1N\0\1b\0\0\0\1x", b"U\0\0\0\1X\0\0", b"D\0\0\0\1N\0\0", b"I\0\0\0\1N\0\1t\0\0\0\x09x"]
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(decode.Malformed):
        if data[:1] == b"I":
            decode.append_tuple(data, 6, [])
        elif data[:1] == b"U":
            decode.update(data)
        else:
            decode.check_delete(data)
