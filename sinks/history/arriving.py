"""What is on its way into history: rows that can be read before they have landed for good.

Under a light load each of many resources has a few rows a second, and an insert costs ClickHouse
7 ms of CPU whatever is in it. So rows of small cars are shown in one insert a second for all
resources together, in a table in memory, and land some seconds later in larger blocks, exactly once
as ever. `live`.`<station>.<resource>` has both; what is in memory only may be gone with the server,
and is there again when it lands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
import pyarrow as pa

from datarail.small_car import UNCHANGED, SmallCar
from datarail.topics import train
from sinks.clickhouse import ClickHouse, create_database, literal, quoted
from sinks.history.tables import DATABASE, UNCHANGED_ITEMS, full_name, table_name
from sinks.port import Arrival

LIVE = "live"
TABLE = f"{quoted(LIVE)}.{quoted('arriving')}"
#: Rows kept in memory, the oldest leave first: several times what is shown between two landings.
_KEPT = 40_000
_OWN = {"_partition", "_offset", "_key", "_landed"}


def live_name(table: str) -> str:
    """The view of a resource's table with what is on its way, as quoted SQL."""
    return f"{quoted(LIVE)}.{quoted(table)}"


def create(store: ClickHouse) -> None:
    """The table of what is on its way."""
    create_database(store, LIVE)
    store.command(
        f"CREATE TABLE IF NOT EXISTS {TABLE} (table LowCardinality(String), _partition UInt32, "
        "_offset UInt64, _key String, row String, _landed DateTime64(3, 'UTC') DEFAULT now64(3)) "
        f"ENGINE = Memory SETTINGS min_rows_to_keep = {_KEPT // 2}, max_rows_to_keep = {_KEPT}"
    )


def create_view(store: ClickHouse, table: str, columns: Mapping[str, str]) -> None:
    """Make or renew the view of a table that has these columns: type by name."""
    station = table.rpartition(".")[0]
    names = ", ".join(quoted(name) for name in columns)
    read = ", ".join(f"{_read(name, kind)} AS {quoted(name)}" for name, kind in columns.items())
    # What has landed is past the mark. Between a landing and its mark a row is in both; its identity
    # tells. In the other order it would be in neither for a moment.
    arriving = (
        f"SELECT table, _partition, _offset, _key, row, _landed FROM {TABLE} "
        f"LEFT JOIN (SELECT partition AS at, max(offset) AS passed FROM {quoted(DATABASE)}.mark "
        f"WHERE topic = {literal(train(station))} GROUP BY at) AS marks ON _partition = at "
        f"WHERE table = {literal(table)} AND _offset >= ifNull(passed, 0)"
    )
    store.command(
        f"CREATE OR REPLACE VIEW {live_name(table)} AS SELECT {names} FROM {full_name(table)} "
        f"UNION ALL SELECT {read} FROM ({arriving}) LIMIT 1 BY _partition, _offset, _lane, _seq"
    )


def _read(name: str, kind: str) -> str:
    if name in _OWN:
        return quoted(name)
    if name == "_unchanged":
        return "unhex(JSONExtract(row, '_unchanged', 'Nullable(String)'))"
    return f"JSONExtract(row, {literal(name)}, {literal(kind)})"


def rows(arrivals: Sequence[Arrival]) -> pa.Table:
    """The rows of arrivals whose cars are all small, for the table of what is on its way."""
    tables: list[str] = []
    places: list[tuple[int, int]] = []
    keys: list[str] = []
    texts: list[bytes] = []
    for arrival in arrivals:
        manifest = arrival.train.manifest
        for entry, car in zip(manifest.cars, arrival.train.cars, strict=True):
            assert isinstance(car, SmallCar) or not car.num_rows
            if not isinstance(car, SmallCar) or not car.rows:
                continue
            names, key = car.shape.schema.names, car.shape.key
            tables += [table_name(manifest.station, entry.resource)] * len(car.rows)
            places += [(arrival.partition, arrival.offset)] * len(car.rows)
            for row in car.rows:
                told = dict(zip(names, row, strict=True))
                told[UNCHANGED_ITEMS] = car.shape.unchanged(row[UNCHANGED])
                keys.append(row[key])
                texts.append(orjson.dumps(told))
    return pa.table(
        {
            "table": pa.array(tables, pa.utf8()),
            "_partition": pa.array([partition for partition, _ in places], pa.uint32()),
            "_offset": pa.array([offset for _, offset in places], pa.uint64()),
            "_key": pa.array(keys, pa.utf8()),
            "row": pa.array(texts, pa.binary()),
        }
    )
