"""The kinds of source there are. A new one is a folder, its contract test, and one line here."""

from __future__ import annotations

from urllib.parse import urlsplit

from connectors.port import Kind
from connectors.postgres.kind import Postgres
from datarail.errors import Terminal

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Postgres(),)}


def kind_of(url: str) -> Kind:
    """The kind a URL names; raises Terminal for one that nobody knows."""
    scheme = urlsplit(url).scheme
    for kind in KINDS.values():
        if scheme in kind.schemes:
            return kind
    known = ", ".join(f"{scheme}://" for kind in KINDS.values() for scheme in kind.schemes)
    raise Terminal(
        f"no connector reads {scheme or 'such'} addresses", part="attach", remedy=f"known are: {known}"
    )
