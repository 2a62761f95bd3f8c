"""What the stores should hold, worked out plainly from the history: last good change of each key."""

from __future__ import annotations

from collections import Counter
from typing import Any

import clickhouse_driver
import polars as pl

from datarail.columns import column
from datarail.contract import Contract, Resource
from datarail.indicators import Indicator
from datarail.keys import key_text
from datarail.position import Identity
from datarail.settings import Settings

IDENTITY = ["_epoch", "_pos", "_idx", "_part"]


def clickhouse(settings: Settings) -> clickhouse_driver.Client:
    server = settings.clickhouse
    return clickhouse_driver.Client(
        server.host, server.tcp_port, user=server.user, password=server.password.get_secret_value()
    )


def current(settings: Settings, station: str, name: str, resource: Resource) -> pl.DataFrame:
    """One row per key that exists now: its last change that was not held, deletes taken away."""
    columns = ["_key", "_op", "_held", *IDENTITY, *(column(item) for item in resource.items)]
    selected = ", ".join(f"`{each}`" for each in columns)
    rows = clickhouse(settings).execute(f"SELECT {selected} FROM history.`{station}.{name}`")
    frame = pl.DataFrame(rows, schema=columns, orient="row", infer_schema_length=None)
    if frame.is_empty():
        return frame
    cut = frame.filter(pl.col("_op") == ord("t")).sort(IDENTITY).tail(1)
    frame = frame.filter((pl.col("_op") != ord("t")) & ~pl.col("_held").cast(pl.Boolean)).sort(IDENTITY)
    if cut.height:
        last = cut.select(pl.struct(IDENTITY)).to_series()[0]
        frame = frame.filter(
            pl.struct(IDENTITY).map_elements(
                lambda row: tuple(row.values()) > tuple(last.values()), return_dtype=pl.Boolean
            )
        )
    return frame.unique("_key", keep="last", maintain_order=True).filter(pl.col("_op") != ord("d"))


def twice_in_history(settings: Settings, station: str, name: str) -> int:
    """Rows of history beyond one for each identity (a truncate stands once in each partition)."""
    rows = clickhouse(settings).execute(
        "SELECT count() - uniqExact(_epoch, _pos, _idx, _part, _lane, _partition) "
        f"FROM history.`{station}.{name}`"
    )
    return int(rows[0][0])


def theme_keys(settings: Settings, stations: dict[str, Contract], store: str) -> Counter[str]:
    """How many contributions each golden record of a store should have."""
    keys: Counter[str] = Counter()
    for station, contract in stations.items():
        for name, resource in contract.resources.items():
            for feed in resource.feeds:
                if feed.store != store:
                    continue
                for row in current(settings, station, name, resource).to_dicts():
                    parts = [row[column(item)] for item in feed.key]
                    if all(part is not None for part in parts):
                        keys[key_text([str(part) for part in parts], Identity(0, 0, 0))] += 1
    return keys


def indicator(
    settings: Settings, stations: dict[str, Contract], wanted: Indicator
) -> dict[tuple[str, ...], Any]:
    """An indicator's values by dimensions, from the rows as they are."""
    resource = stations[wanted.station].resources[wanted.resource]
    values: Counter[tuple[str, ...]] = Counter()
    for row in current(settings, wanted.station, wanted.resource, resource).to_dicts():
        if any(_text(row[column(item)]) not in allowed for item, allowed in wanted.where.items()):
            continue
        place = [_text(row[column(item)]) for item in wanted.by]
        if wanted.day:
            place.append(_text(row[column(wanted.day)])[:10])
        measure = 1 if wanted.item is None else row[column(wanted.item)]
        if measure is not None:
            values[tuple(place)] += measure
    return {place: value for place, value in values.items() if value}


def _text(value: Any) -> str:
    return "" if value is None else str(value)
