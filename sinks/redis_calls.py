"""Connecting to Redis, and what its errors mean to a sink."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)
from redis.retry import Retry

from datarail.errors import Terminal, Transient


def connect(url: str) -> redis.Redis:
    """A client that answers bytes, connects when first used, and leaves retrying to the loop."""
    return redis.Redis.from_url(
        url,
        socket_timeout=30,
        socket_connect_timeout=5,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 1),
        client_name="datarail",
    )


@contextmanager
def passing() -> Iterator[None]:
    """Turn the client's errors into Transient (away, busy, full) and Terminal (refused)."""
    try:
        yield
    except (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, TryAgainError) as error:
        raise Transient(f"Redis does not answer: {error}", part="redis") from error
    except OutOfMemoryError as error:
        raise Transient(f"Redis is full: {error}", part="redis", remedy="raise its maxmemory") from error
    except ResponseError as error:
        if str(error).startswith(("MISCONF", "NOREPLICAS", "BUSY", "LOADING", "CLUSTERDOWN")):
            raise Transient(f"Redis cannot write now: {error}", part="redis") from error
        raise Terminal(f"Redis refuses: {error}", part="redis") from error
    except RedisError as error:
        raise Terminal(f"Redis: {error}", part="redis") from error
