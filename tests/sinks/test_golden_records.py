"""Golden records in Redis: what is set without being compared, and when that is refused."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import hiredis
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trains import new_station

from datarail.errors import Terminal
from datarail.position import Mark
from datarail.settings import Settings
from datarail.topics import train as train_topic
from sinks.redis_calls import connect, send
from sinks.themes.build import golden_key, tombstone
from sinks.themes.changes import Changes, Sets
from sinks.themes.golden import Golden, Turn

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.fixture
def golden(servers: Settings) -> Iterator[Golden]:
    golden = Golden(connect(servers.redis))
    yield golden
    golden.close()


@pytest.fixture
def topic() -> str:
    return train_topic(new_station())


def contribution(version: int) -> str:
    return f'{{"v":"{version:032x}","h":0,"c":0,"p":0,"f":{{}}}}'


def sets(topic: str, versions: dict[str, int], *, anew: bool = True) -> Changes:
    """A contribution of one source key to each record."""
    columns = (
        pl.Series([golden_key("population", f"{topic}:{who}").decode() for who in versions]),
        pl.Series([f"{topic}/person/1" for _ in versions]),
        pl.Series([contribution(version) for version in versions.values()]),
    )
    return Changes([Sets(*columns, anew)])


def version(golden: Golden, topic: str, who: str) -> int | None:
    key = golden_key("population", f"{topic}:{who}")
    text = golden._client.hget(key, f"{topic}/person/1")
    return int(text[6:38], 16) if text else None


def turn(topic: str, mark: int, begun: int | None, end: int, *, sure: bool = True) -> Turn:
    return Turn(topic, 0, Mark(mark) if mark else None, begun, end, sure)


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=9), st.integers(1, 4))
def test_columns_are_written_as_redis_reads_them(rows: list[tuple[str, str, str]], at_once: int) -> None:
    columns = [pl.Series(list(values), dtype=pl.String) for values in zip(*rows, strict=True)]
    reader, told = hiredis.Reader(), []
    for some in Sets(columns[0], columns[1], columns[2], True).arguments(at_once):
        reader.feed(b"*%d\r\n" % some.number + bytes(some.written))
        told += reader.gets()
        assert some.number <= 3 * at_once
    assert told == [text.encode() for text in chain.from_iterable(rows)]


def test_arguments_written_already_are_a_command_s_last(servers: Settings, topic: str) -> None:
    client = connect(servers.redis)
    [arguments] = sets(topic, {"A": 1}).sets[0].arguments(10)
    assert send(client, [("PING",), ("EVAL", "return #ARGV", 0, "x", arguments)]) == [b"PONG", 4]
    client.close()


def test_a_batch_is_told_and_its_beginning_and_its_end_are_noted(golden: Golden, topic: str) -> None:
    first = turn(topic, 0, None, 5)
    golden.apply_some(sets(topic, {"A": 1, "B": 1}), first)
    assert (golden.begun(topic, 0), golden.mark(topic, 0), first.sure, first.begun) == (5, None, True, 5)
    golden.apply_some(sets(topic, {"C": 1}), first)
    golden.apply_and_mark(Changes(), first, Mark(5))
    assert golden.mark(topic, 0) == Mark(5)
    assert [version(golden, topic, who) for who in "ABC"] == [1, 1, 1]


def test_what_redis_may_have_is_compared(golden: Golden, topic: str) -> None:
    golden.apply_some(sets(topic, {"A": 7}), turn(topic, 0, None, 5))
    golden.apply_some(sets(topic, {"A": 3, "B": 3}), turn(topic, 0, 5, 5, sure=False))
    assert (version(golden, topic, "A"), version(golden, topic, "B")) == (7, 3)


@pytest.mark.parametrize("late", ["mark", "begun"])
def test_a_process_that_lives_on_behind_another_sets_nothing(golden: Golden, topic: str, late: str) -> None:
    old = turn(topic, 0, None, 5)
    golden.apply_some(sets(topic, {"A": 1}), old)
    if late == "mark":  # the other has told the same batch, and one more by the way
        golden.apply_and_mark(sets(topic, {"A": 2}), turn(topic, 0, 5, 6, sure=False), Mark(6))
    else:  # the other has only begun
        golden.apply_some(sets(topic, {"A": 2}), turn(topic, 0, 5, 9, sure=False))
    with pytest.raises(Terminal, match="somebody else"):
        golden.apply_some(sets(topic, {"A": 1, "B": 1}), old)
    assert (version(golden, topic, "A"), version(golden, topic, "B")) == (2, None)
    assert not old.sure


def test_a_record_that_was_to_expire_stays_when_something_comes(golden: Golden, topic: str) -> None:
    now = turn(topic, 0, None, 9)
    golden.apply_some(sets(topic, {"A": 1}), now)
    key = golden_key("population", f"{topic}:A")
    gone = Changes()
    gone.append((key, f"{topic}/person/1".encode(), tombstone(b"%032x" % 2)))
    golden.apply_some(gone, now)
    assert golden._client.ttl(key) > 0
    golden.apply_some(sets(topic, {"A": 3}), now)
    assert (golden._client.ttl(key), version(golden, topic, "A")) == (-1, 3)
