"""Single rows followed to where they are used: the indicator, the golden record, the history.

Ten times a second, whatever became of those before it, a probe is inserted into an event table, of
a grid and number of its own. Redis is asked every two milliseconds whether its indicator counts one
and its golden record is there, and, for some, ClickHouse ten times a second whether history has
it, on a thread of its own: its answer takes longer, and Redis would not be asked meanwhile. So these
latencies are what an asking app would see, up to two milliseconds too long. All that is looked for
is asked for at once: a line that is late must not be asked the more for it, or the asking itself
would hold it up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import compress
from multiprocessing.connection import Connection
from typing import Any

import orjson
import psycopg2

from bench.subscriber import columns
from datarail.errors import Terminal
from datarail.settings import Settings
from datarail.topics import train
from examples.city.wide import WideTable
from sinks.clickhouse import ClickHouse
from sinks.history.arriving import live_name
from sinks.history.tables import table_name
from sinks.indicators.totals import total_key
from sinks.redis_calls import connect
from sinks.themes.build import golden_key

#: Far above the numbers of the load's rows.
FIRST = 2_000_000_000
_EVERY, _HISTORY_EVERY = 0.1, 0.1
_PAUSE = 0.002
_PATIENCE = 240.0
_HISTORY_OF = 20  # one probe in so many is looked for in history

Seen = dict[str, dict[int, int]]  # hop → probe → when it was seen there, µs


class Probes:
    """The probes under way and where each has been seen."""

    def __init__(self, settings: Settings, station: str, table: WideTable, indicator: str) -> None:
        self._redis: Any = connect(settings.redis)
        self._store = ClickHouse(settings.clickhouse)
        self._history = live_name(table_name(station, table.name))
        self._totals = [total_key(train(station), each, indicator) for each in range(settings.partitions)]
        self._asks: dict[str, Callable[[list[int]], Iterable[bool]]] = {
            "indicator": self._counted,
            "golden": self._golden,
            "history": self._in_history,
        }
        self._beside = ThreadPoolExecutor(1)
        self._asked: Future[None] | None = None
        self._ask_again = 0.0
        self.waiting: dict[str, list[int]] = {hop: [] for hop in self._asks}
        self.seen: Seen = {hop: {} for hop in self._asks}

    def add(self, probe: int) -> None:
        for hop, waiting in self.waiting.items():
            if hop != "history" or probe % _HISTORY_OF == 0:
                waiting.append(probe)

    @property
    def asks_redis(self) -> bool:
        """Whether any probe is still on its way to Redis; if not, nothing need be asked until the next."""
        return bool(self.waiting["indicator"] or self.waiting["golden"])

    def look(self) -> None:
        """Ask once for everything that has not been seen yet."""
        self._look("indicator")
        self._look("golden")
        if self._asked is not None and self._asked.done():
            self._asked.result()
            self._asked = None
        if self._asked is None and time.monotonic() >= self._ask_again:
            self._ask_again = time.monotonic() + _HISTORY_EVERY
            self._asked = self._beside.submit(self._look, "history")

    def _look(self, hop: str) -> None:
        waiting = list(self.waiting[hop])
        if not waiting:
            return
        there = list(self._asks[hop](waiting))
        at = time.time_ns() // 1000
        for probe in compress(waiting, there):
            self.seen[hop][probe] = at
            self.waiting[hop].remove(probe)

    def commits(self) -> dict[int, int]:
        """When the source committed each probe that history has, µs."""
        if self._asked is not None:
            self._asked.result()  # a connection answers one at a time
        rows = self._store.rows(
            "SELECT _key, toInt64(toUnixTimestamp64Micro(_commit)) "
            f"FROM {self._history} WHERE startsWith(_w_wgbm, 'PROBE')"
        )
        return {int(key): int(commit) for key, commit in rows}

    def known(self, commits: dict[int, int]) -> bool:
        """Whether it is told when each probe that was seen had been committed."""
        return all(each in commits for found in self.seen.values() for each in found)

    def close(self) -> None:
        self._beside.shutdown()
        self._store.close()
        self._redis.close()

    def _counted(self, waiting: list[int]) -> Iterable[bool]:
        fields = [orjson.dumps([name(probe)]) for probe in waiting]
        with self._redis.pipeline(transaction=False) as calls:
            for key in self._totals:
                calls.hmget(key, fields)
            return [any(found) for found in zip(*calls.execute(), strict=True)]

    def _golden(self, waiting: list[int]) -> Iterable[bool]:
        with self._redis.pipeline(transaction=False) as calls:
            for probe in waiting:
                calls.exists(golden_key("governance", name(probe)).decode())
            return [bool(found) for found in calls.execute()]

    def _in_history(self, waiting: list[int]) -> Iterable[bool]:
        keys = [str(probe) for probe in waiting]
        question = f"SELECT DISTINCT _key FROM {self._history} WHERE _key IN {{keys:Array(String)}}"
        found = {key for (key,) in self._store.rows(question, keys=keys)}
        return [key in found for key in keys]


def name(probe: int) -> str:
    """The probe's grid, and its event's number."""
    return f"PROBE{probe}"


def probe(
    settings: Settings, station: str, source: str, table: WideTable, indicator: str, pipe: Connection
) -> None:
    """Probe until the pipe says something; sends {"indicator" | "golden" | "history": (commit, seen)},
    microseconds since 1970. What is under way then is waited for, up to four minutes."""
    probes = Probes(settings, station, table, indicator)
    with closing(psycopg2.connect(source)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"SELECT coalesce(max({table.key}), 0) FROM {table.name}")
        number = max(FIRST, int((cursor.fetchone() or (0,))[0]))
        pipe.send("ready")
        due = time.monotonic()
        while not pipe.poll():
            if time.monotonic() >= due:
                number, due = number + 1, due + _EVERY
                cursor.execute(
                    f"INSERT INTO {table.name} VALUES (%s, %s, '环境卫生', '测速', '测速', %s, '330602', "
                    "'解放路1号', '王建国', '13900000000', now(), '办结', 120.5)",
                    (number, name(number), name(number)),
                )
                probes.add(number)
            probes.look()
            time.sleep(_PAUSE if probes.asks_redis else max(0.0, min(due - time.monotonic(), _HISTORY_EVERY)))
    deadline = time.monotonic() + _PATIENCE
    while any(probes.waiting.values()) and time.monotonic() < deadline:
        probes.look()
        time.sleep(_PAUSE)
    commits = probes.commits()
    while not probes.known(commits) and time.monotonic() < deadline:
        time.sleep(0.5)  # history, which tells the commits, may be the slowest
        commits = probes.commits()
    probes.close()
    if any(probes.waiting.values()) or not probes.known(commits):
        # To leave them out would flatter the line.
        raise Terminal(f"probes were not seen within {_PATIENCE:.0f} s: {probes.waiting}", part="bench")
    pipe.send(
        {
            hop: columns((commits[each], at) for each, at in found.items())
            for hop, found in probes.seen.items()
        }
    )
