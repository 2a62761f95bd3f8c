"""Which items of a resource count, and into which indicators. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import pyarrow as pa

from datarail.contract import Contract, Item
from datarail.indicators import Indicator
from datarail.types import arrow_type

#: Decimal places of a summed item that has no scale of its own.
_FLOAT_SCALE = 6


@dataclass(frozen=True, slots=True)
class Measure:
    """One indicator over a resource's rows. scale: decimal places its sums are kept with.
    exact: its values have no more than those (floats may)."""

    name: str
    item: str | None
    by: tuple[str, ...]
    day: str | None
    where: tuple[tuple[str, tuple[str, ...]], ...]
    scale: int = 0
    exact: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class ResourcePlan:
    """The measures of a resource, and the items (sorted by name) that they need. Each is its own key."""

    resource: str
    measures: tuple[Measure, ...]
    items: Mapping[str, pa.DataType]


def plan_station(contract: Contract, indicators: Mapping[str, Indicator]) -> dict[str, ResourcePlan]:
    """resource → its plan, for those that an indicator counts."""
    plans = {}
    for name, resource in contract.resources.items():
        measures = tuple(
            Measure(
                title,
                entry.item,
                tuple(entry.by),
                entry.day,
                tuple((item, tuple(values)) for item, values in sorted(entry.where.items())),
                scale_of(resource.items[entry.item]) if entry.item else 0,
                entry.item is None or resource.items[entry.item].type in ("integer", "decimal"),
            )
            for title, entry in sorted(indicators.items())
            if (entry.station, entry.resource) == (contract.station, name)
        )
        if measures:
            used = sorted({item for measure in measures for item in used_items(measure)})
            types = {item: resource.items[item] for item in used}
            plans[name] = ResourcePlan(
                name,
                measures,
                {item: arrow_type(kind.type, kind.precision, kind.scale) for item, kind in types.items()},
            )
    return plans


def used_items(measure: Measure) -> list[str]:
    """The items a measure looks at."""
    named = [*measure.by, *(item for item, _ in measure.where)]
    return [*named, *(item for item in (measure.item, measure.day) if item)]


def scale_of(item: Item) -> int:
    """Decimal places in which sums of the item are exact integers."""
    if item.type == "integer":
        return 0
    return item.scale if item.type == "decimal" else _FLOAT_SCALE


def fingerprint(plans: Mapping[str, ResourcePlan]) -> bytes:
    """Changes when a station's indicators change: then they are counted anew."""
    shape = {
        name: [
            [[m.name, m.item, m.by, m.day, m.where, m.scale] for m in plan.measures],
            [[item, str(kind)] for item, kind in plan.items.items()],
        ]
        for name, plan in plans.items()
    }
    return hashlib.sha256(orjson.dumps(shape, option=orjson.OPT_SORT_KEYS)).hexdigest().encode()
