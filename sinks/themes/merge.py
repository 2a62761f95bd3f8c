"""Contributions → golden record, field by field. Pure.

For each field, among the contributions that have a value for it:
  1. the department with the highest authority (datarail.themes.Theme.rank);
  2. then the later commit: positions of two stations cannot be compared (DESIGN rule 7), the
     times of their commits can, as well as their clocks agree;
  3. then, only so that the choice is always the same one: station, newer version within it,
     resource, source key, feed.
A null is no value: it never wins, not even as the highest authority's. That a department knows
nothing of a field does not make what another one knows untrue; to withdraw a value, the one who
gave it changes or deletes it. Each field says whether a newer change of the contribution it comes
from is held in quarantine, and since when.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from datarail.themes import Theme

#: As text, every version is below this when its digits are turned round (nines' complement).
_TURNED = str.maketrans("0123456789abcdef", "fedcba9876543210")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def merge(theme: Theme, contributions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The golden record of contributions by source (`<station>/<resource>[#feed]/<source key>`).

    {"fields": {field: {"value", "title", "source": {"station", "resource", "key"}, "time", "held"}},
    "held_since", "contributions"}; times are ISO in UTC, held and held_since null when nothing is
    held. None when every contribution was withdrawn.
    """
    alive = {source: entry for source, entry in contributions.items() if "d" not in entry}
    if not alive:
        return None
    best: dict[str, tuple[tuple[Any, ...], str]] = {}
    for source, entry in alive.items():
        station, resource, key = source.split("/", 2)
        name, _, feed = resource.partition("#")
        later = (-entry["c"], station, entry["v"].translate(_TURNED), name, key, int(feed or 0))
        department = station.partition(".")[0]
        for field, value in entry["f"].items():
            if value is None or field not in theme.fields:
                continue
            order = (theme.rank(field, department), *later)
            if field not in best or order < best[field][0]:
                best[field] = (order, source)
    held = [entry["h"] for entry in alive.values() if entry["h"]]
    return {
        "fields": {
            field: _field(theme, field, best[field][1], alive[best[field][1]])
            for field in theme.fields
            if field in best
        },
        "held_since": moment(max(held)) if held else None,
        "contributions": len(alive),
    }


def _field(theme: Theme, field: str, source: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    station, resource, key = source.split("/", 2)
    return {
        "value": entry["f"][field],
        "title": theme.fields[field].title,
        "source": {"station": station, "resource": resource.partition("#")[0], "key": key},
        "time": moment(entry["c"]),
        "held": moment(entry["h"]) if entry["h"] else None,
    }


def moment(microseconds: int) -> str:
    """Microseconds since 1970 as ISO text in UTC."""
    return (
        (_EPOCH + timedelta(microseconds=microseconds))
        .isoformat(timespec="microseconds")
        .replace("+00:00", "Z")
    )
