"""Where the city's databases are, and sessions with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg2

#: The address of a database of the city: `postgresql://…/police` for "police".
Address = Callable[[str], str]


def addresses(base: str) -> Address:
    """Addresses on one server. `base` is any URL of it; its path and query are left out."""
    parts = urlsplit(base)
    return lambda database: f"{parts.scheme}://{parts.netloc}/{quote(database)}"


@contextmanager
def connect(url: str) -> Iterator[Any]:
    """A session in the city's own time zone, closed at the end."""
    with closing(psycopg2.connect(url, options="-c timezone=Asia/Shanghai", connect_timeout=5)) as connection:
        yield connection
