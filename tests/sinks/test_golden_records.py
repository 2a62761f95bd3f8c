"""Golden records in Redis: what is set without being compared, and when that is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import hiredis
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trains import new_station

from datarail.errors import Terminal, Transient
from datarail.position import Mark
from datarail.settings import Settings
from datarail.topics import train as train_topic
from sinks.redis_calls import Commands, Watched, connect, passing, watched
from sinks.themes.build import golden_key, tombstone
from sinks.themes.changes import Changes, Sets
from sinks.themes.golden import Golden, Turn, begun_key

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


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=9), st.integers(1, 4), st.booleans())
def test_columns_are_written_as_redis_reads_them(
    rows: list[tuple[str, str, str]], at_once: int, anew: bool
) -> None:
    columns = [pl.Series(list(values), dtype=pl.String) for values in zip(*rows, strict=True)]
    reader, told = hiredis.Reader(), []
    for some in Sets(columns[0], columns[1], columns[2], anew).commands(at_once):
        reader.feed(bytes(some.written))
        told += [[word.decode() for word in reader.gets()] for _ in range(some.number)]
        assert some.number <= (1 + anew) * at_once
    assert reader.gets() is False
    expected = [(["HSET", *row], ["PERSIST", row[0]])[: 1 + anew] for row in rows]
    assert told == list(chain.from_iterable(expected))


def test_commands_are_done_together_while_nobody_writes(servers: Settings, topic: str) -> None:
    client, other = connect(servers.redis), connect(servers.redis)
    place = topic.encode()
    [commands] = sets(topic, {"A": 1, "B": 1}).sets[0].commands(10)
    with watched(client, [place]) as watch:
        assert watch.values == [None] and watch.together([commands])
        other.set(place, "theirs")
        assert not watch.together([commands]) and watch.values == [b"theirs"]
        assert watch.together([commands])
    assert client.ping()  # nothing is left on the way
    client.close()
    other.close()


def test_what_one_of_the_commands_is_refused_for_is_told(servers: Settings, topic: str) -> None:
    client = connect(servers.redis)
    changes = sets(topic, {"A": 1})
    [commands] = changes.sets[0].commands(10)
    client.set(changes.sets[0].keys[0], "no hash")
    with pytest.raises(Terminal, match="WRONGTYPE"), passing(), watched(client, [b"x"]) as watch:
        watch.together([commands])
    most = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(Transient, match="Redis is full"), passing(), watched(client, [b"x"]) as watch:
            watch.together([commands])
    finally:
        client.config_set("maxmemory", most)
        client.delete(changes.sets[0].keys[0])
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


def test_a_process_that_is_overtaken_between_two_calls_sets_no_more(
    golden: Golden, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, calls = Watched.together, []

    def overtaken(self: Watched, commands: Sequence[Commands]) -> bool:
        if calls:  # looked at already, and still as it should be
            golden._client.set(begun_key(topic, 0), 9)
        calls.append(commands)
        return together(self, commands)

    monkeypatch.setattr(Watched, "together", overtaken)
    monkeypatch.setattr("sinks.themes.golden._RECORDS", 1)
    with pytest.raises(Terminal, match="somebody else, or has gone back: it is at , begun to 9"):
        golden.apply_some(sets(topic, {"A": 1, "B": 1, "C": 1}), turn(topic, 0, None, 5))
    assert [version(golden, topic, who) for who in "ABC"] == [1, None, None]


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
