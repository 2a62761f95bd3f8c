"""One golden record by its key: a read from Redis and a merge, well within a millisecond."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import orjson
import redis

from datarail.contract import StoreName
from datarail.errors import Terminal
from datarail.themes import Theme, read_themes
from sinks.redis_calls import passing
from sinks.themes.build import golden_key
from sinks.themes.merge import merge


def lookup(
    client: redis.Redis, store: str, key: str, themes: Mapping[StoreName, Theme] | None = None
) -> dict[str, Any] | None:
    """The golden record `key` of a store; None when there is none.

    {"store", "key", "key_title", "title"} and what sinks.themes.merge.merge gives. `themes`: the
    working folder's (datarail.themes.read_themes(settings.folder)); the line's own when left out.
    Raises Terminal for an unknown store, Transient when Redis is away.
    """
    stores = themes if themes is not None else read_themes(Path())
    theme = stores.get(cast(StoreName, store))
    if theme is None:
        raise Terminal(
            f"there is no theme store {store!r}", part="lookup", remedy=f"one of: {', '.join(stores)}"
        )
    with passing():
        found = cast(dict[bytes, bytes], client.hgetall(golden_key(store, key).decode()))
    record = merge(theme, {source.decode(): orjson.loads(entry) for source, entry in found.items()})
    if record is None:
        return None
    return {"store": store, "title": theme.title, "key": key, "key_title": theme.key_title, **record}
