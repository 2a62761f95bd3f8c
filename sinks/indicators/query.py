"""Reading the indicators: the partitions' totals summed, by name and dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import orjson
import redis

from datarail.contract import Contract
from datarail.indicators import Indicator
from datarail.topics import train
from sinks.indicators.plan import scale_of
from sinks.indicators.totals import PARTITIONS, total_key
from sinks.redis_calls import passing


@dataclass(frozen=True, slots=True)
class Reading:
    """One indicator now. dimensions: names, in order, the day last. values: by the dimensions'
    values (text or None): a count as int, a sum as Decimal. What is 0 is not there."""

    title: str
    dimensions: tuple[str, ...]
    values: dict[tuple[str | None, ...], int | Decimal]


def read(
    client: redis.Redis, definitions: Mapping[str, Indicator], contracts: Mapping[str, Contract]
) -> dict[str, Reading]:
    """All indicators by name; one of a station that is not attached has no values.

    Raises Transient when Redis is away.
    """
    readings = {}
    with passing():
        places = [place.decode().rpartition("/") for place in cast(set[bytes], client.smembers(PARTITIONS))]
        for name, definition in definitions.items():
            topic = train(definition.station)
            sums: dict[tuple[str | None, ...], int] = {}
            for _, _, partition in [place for place in places if place[0] == topic]:
                found = cast(dict[bytes, bytes], client.hgetall(total_key(topic, int(partition), name)))
                for dimensions, value in found.items():
                    key = tuple(orjson.loads(dimensions))
                    sums[key] = sums.get(key, 0) + int(value)
            readings[name] = Reading(
                definition.title,
                (*definition.by, *([definition.day] if definition.day else [])),
                {
                    key: _value(definition, contracts, total)
                    for key, total in sorted(sums.items(), key=_order)
                    if total
                },
            )
    return readings


def _value(definition: Indicator, contracts: Mapping[str, Contract], total: int) -> int | Decimal:
    if definition.item is None:
        return total
    contract = contracts.get(definition.station)
    if contract is None or definition.resource not in contract.resources:
        return total
    return Decimal(total).scaleb(-scale_of(contract.resources[definition.resource].items[definition.item]))


def _order(entry: tuple[tuple[str | None, ...], Any]) -> tuple[str, ...]:
    return tuple(value or "" for value in entry[0])
