"""Single rows followed to where they are used: the indicator, the golden record, the history.

Each probe is one insert into an event table, of a grid and number of its own. Then Redis is asked
again and again until the indicator has counted it and the golden record is there, and, for some,
ClickHouse until history answers with it. So these latencies are what an asking app would see.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import orjson
import psycopg2

from bench.subscriber import columns
from datarail.settings import Settings
from datarail.topics import train
from examples.city.wide import WideTable
from sinks.clickhouse import ClickHouse
from sinks.history.tables import full_name, table_name
from sinks.indicators.totals import total_key
from sinks.redis_calls import connect
from sinks.themes.build import golden_key

#: Far above the numbers of the load's rows.
FIRST = 2_000_000_000
_EVERY = 0.1
_PATIENCE = 10.0
_HISTORY_OF = 10  # one probe in so many is looked for in history


def probe(
    settings: Settings, station: str, source: str, table: WideTable, indicator: str, pipe: Connection
) -> None:
    """Probe until the pipe says something; sends {"indicator" | "golden" | "history": (commit, seen)},
    microseconds since 1970. A probe that is not seen within 10 s counts as 10 s."""
    redis: Any = connect(settings.redis)
    store = ClickHouse(settings.clickhouse)
    history = full_name(table_name(station, table.name))
    seen: dict[str, dict[int, int]] = {"indicator": {}, "golden": {}, "history": {}}
    dimension = orjson.dumps(["PROBE"])
    totals = [total_key(train(station), each, indicator) for each in range(settings.partitions)]
    ids: list[int] = []

    def counted(wanted: int) -> bool:
        return sum(int(redis.hget(key, dimension) or 0) for key in totals) >= wanted

    def golden(key: str) -> bool:
        return bool(redis.exists(key))

    def in_history(key: str) -> bool:
        return bool(store.rows(f"SELECT count() FROM {history} WHERE _key = {{key:String}}", key=key)[0][0])

    with closing(psycopg2.connect(source)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"SELECT coalesce(max({table.key}), 0) FROM {table.name}")
        number = max(FIRST, int((cursor.fetchone() or (0,))[0]))
        known = sum(int(redis.hget(key, dimension) or 0) for key in totals)
        pipe.send("ready")
        while not pipe.poll():
            number += 1
            known += 1
            began = time.monotonic()
            cursor.execute(
                f"INSERT INTO {table.name} VALUES (%s, %s, '环境卫生', '测速', '测速', 'PROBE', '330602', "
                "'解放路1号', '王建国', '13900000000', now(), '办结', 120.5)",
                (number, f"PROBE{number}"),
            )
            ids.append(number)
            key = golden_key("governance", f"PROBE{number}").decode()
            _until(
                {"indicator": partial(counted, known), "golden": partial(golden, key)}, number, seen, 0.0003
            )
            if len(ids) % _HISTORY_OF == 0:
                _until({"history": partial(in_history, str(number))}, number, seen, 0.02)
            time.sleep(max(0.0, _EVERY - (time.monotonic() - began)))
        time.sleep(2)
        rows = store.rows(
            f"SELECT _key, toInt64(toUnixTimestamp64Micro(_commit)) FROM {history} WHERE _w_wgbm = 'PROBE'"
        )
        commits = {int(key): int(commit) for key, commit in rows}
    store.close()
    pipe.send(
        {
            name: columns((commits[each], at) for each, at in found.items() if each in commits)
            for name, found in seen.items()
        }
    )


def _until(
    asks: Mapping[str, Callable[[], bool]], number: int, seen: dict[str, dict[int, int]], every: float
) -> None:
    deadline = time.monotonic() + _PATIENCE
    waiting = dict(asks)
    while waiting:
        late = time.monotonic() > deadline
        for name, ask in list(waiting.items()):
            if ask() or late:
                seen[name][number] = time.time_ns() // 1000
                del waiting[name]
        time.sleep(every)
