"""Where stream and snapshot overlap, each change comes exactly once: a model of a source tells."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.postgres.overlap import Chunk, Key, Overlap, Snapshot
from connectors.train_builder import Columns

KEYS = 8
#: Chunk bounds of the model's table: keys 0-2, 3-5, 6 and above.
BOUNDS: list[Key] = [("2",), ("5",)]


def locate(_resource: str, bounds: Sequence[Key], keys: Sequence[Key]) -> list[int]:
    return [bisect_left([int(bound[0]) for bound in bounds], int(key[0])) for key in keys]


class Model:
    """Transactions commit in one order and become visible in another, as in PostgreSQL."""

    def __init__(self) -> None:
        self.log: list[tuple[int, int, str, int]] = []  # (position, xid, op, key)
        self.visible: set[int] = set()
        self.next_xid = 10
        self.hidden: list[int] = []

    def commit(self, changes: list[tuple[str, int]], shown: bool) -> None:
        xid, self.next_xid = self.next_xid, self.next_xid + 1
        self.log += [(xid * 10, xid, op, key) for op, key in changes]
        if shown:
            self.visible.add(xid)
        else:
            self.hidden.append(xid)

    def show(self) -> None:
        self.visible |= set(self.hidden)
        self.hidden = []

    def read(self, number: int) -> tuple[Chunk, dict[int, int]]:
        """A chunk as its snapshot sees it: number of changes of each key so far (none: no row)."""
        snapshot = Snapshot(min([*self.hidden, self.next_xid]), self.next_xid, frozenset(self.hidden))
        high = BOUNDS[number] if number < len(BOUNDS) else None
        state = replay([entry for entry in self.log if entry[1] in self.visible])
        inside = {key: n for key, n in state.items() if locate("", BOUNDS, [(str(key),)]) == [number]}
        return Chunk(high, snapshot, self.next_xid * 10), inside


def replay(log: list[tuple[int, int, str, int]], state: dict[int, int] | None = None) -> dict[int, int]:
    """What the changes leave: key → how often it was written since the table was emptied."""
    state = dict(state or {})
    for _, _, op, key in log:
        if op == "t":
            state.clear()
        else:
            state[key] = state.get(key, 0) + 1
    return state


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("commit"),
            st.lists(st.tuples(st.just("u"), st.integers(0, KEYS)), min_size=1, max_size=3),
            st.booleans(),
        ),
        st.tuples(st.just("commit"), st.just([("t", 0)]), st.just(True)),
        st.tuples(st.just("show"), st.just([]), st.just(True)),
        st.tuples(st.just("read"), st.just([]), st.just(True)),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(STEPS, st.integers(1, 5))
def test_snapshot_and_stream_make_the_table(
    steps: list[tuple[str, list[tuple[str, int]], bool]], batch: int
) -> None:
    model = Model()
    chunks: list[Chunk] = []
    state: dict[int, int] = {}
    for kind, changes, shown in [*steps, *[("read", [], True)] * 3]:
        if kind == "commit":
            # A truncate locks the table: nobody else's writes are hidden then.
            if changes[0][0] == "t":
                model.show()
            model.commit(changes, shown)
        elif kind == "show":
            model.show()
        elif len(chunks) < 3:
            chunk, inside = model.read(len(chunks))
            chunks.append(chunk)
            state |= inside
    model.commit([("u", 1)], True)
    overlap = Overlap({"r": chunks}, locate)
    for at in range(0, len(model.log), batch):
        part = model.log[at : at + batch]
        kept = overlap.keep(columns(part))
        state = replay([entry for i, entry in enumerate(part) if kept is None or kept[i]], state)
    assert state == replay(model.log)


def columns(log: list[tuple[int, int, str, int]]) -> Columns:
    return Columns(
        "r",
        np.array([ord(op) for _, _, op, _ in log], np.uint8),
        np.array([position for position, _, _, _ in log], np.uint64),
        np.array([xid for _, xid, _, _ in log], np.uint64),
        [pa.array([None if op == "t" else str(key) for _, _, op, key in log], pa.utf8())],
    )


def test_a_snapshot_knows_what_it_saw() -> None:
    snapshot = Snapshot.parse("10:20:12,15")
    assert [snapshot.saw(xid) for xid in (9, 10, 12, 15, 19, 20)] == [True, True, False, False, True, False]
    assert Snapshot.parse("5:5:").saw(4)


def test_nothing_is_asked_once_the_stream_is_past() -> None:
    overlap = Overlap({"r": [Chunk(None, Snapshot.parse("5:5:"), 100)]}, locate)
    assert overlap.keep(columns([(100, 3, "u", 1)])) is None
    assert overlap.passed(100)
    assert not overlap.passed(99)
