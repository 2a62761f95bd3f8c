"""What a resource gives to the theme stores: its feeds, made ready for whole columns. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import pyarrow as pa

from datarail.contract import Contract, Resource, StoreName
from datarail.themes import Theme
from datarail.types import arrow_type


@dataclass(frozen=True, slots=True, eq=False)
class FeedPlan:
    """One feed. key: items of the theme key. fields: (field, item, type in the store)."""

    store: StoreName
    source: str
    number: int
    key: tuple[str, ...]
    fields: tuple[tuple[str, str, pa.DataType], ...]


@dataclass(frozen=True, slots=True, eq=False)
class ResourcePlan:
    """A resource with its feeds, and the items (with types) that they need. Each is its own key."""

    station: str
    resource: str
    feeds: tuple[FeedPlan, ...]
    items: Mapping[str, pa.DataType]


def plan_station(contract: Contract, themes: Mapping[StoreName, Theme]) -> dict[str, ResourcePlan]:
    """resource → its plan, for those that feed a store. Fields a store does not have are left out."""
    plans = {}
    for name, resource in contract.resources.items():
        feeds = tuple(
            FeedPlan(
                feed.store,
                source(contract.station, name, number),
                number,
                tuple(feed.key),
                tuple(
                    (field, item, arrow_type(themes[feed.store].fields[field].type))
                    for field, item in feed.fields.items()
                    if field in themes[feed.store].fields
                ),
            )
            for number, feed in enumerate(resource.feeds)
            if feed.store in themes
        )
        if feeds:
            plans[name] = ResourcePlan(contract.station, name, feeds, _items(resource, feeds))
    return plans


def source(station: str, resource: str, number: int) -> str:
    """Where a contribution comes from, as in Redis; a second feed of one resource is told apart."""
    return f"{station}/{resource}#{number}" if number else f"{station}/{resource}"


def fingerprint(plans: Mapping[str, ResourcePlan]) -> bytes:
    """Changes when what a station gives to the stores changes: then it is derived anew."""
    shape = {
        name: [
            [feed.store, feed.number, feed.key, [field[:2] for field in feed.fields]] for feed in plan.feeds
        ]
        for name, plan in plans.items()
    }
    return hashlib.sha256(orjson.dumps(shape, option=orjson.OPT_SORT_KEYS)).hexdigest().encode()


def _items(resource: Resource, feeds: tuple[FeedPlan, ...]) -> dict[str, pa.DataType]:
    names: dict[str, None] = {}
    for feed in feeds:
        names |= dict.fromkeys([*feed.key, *(item for _, item, _ in feed.fields)])
    return {
        name: arrow_type(item.type, item.precision, item.scale)
        for name, item in resource.items.items()
        if name in names
    }
