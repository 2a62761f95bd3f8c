"""Connecting to Redis, and what its errors mean to a sink."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import redis
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
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

from datarail import tls
from datarail.errors import Terminal, Transient

_ADDRESS = (
    "check the address of Redis (redis in datarail.yaml, or DATARAIL_REDIS): its user and password, and "
    "with rediss:// its ssl_ca_certs, which must hold who signed the server's certificate"
)


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
    except AuthenticationError as error:
        raise Terminal(f"Redis refuses: {error}", part="redis", remedy=_ADDRESS) from error
    except (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, TryAgainError) as error:
        if why := tls.refusal(error.__context__):
            raise Terminal(f"Redis: {why}", part="redis", remedy=_ADDRESS) from error
        raise Transient(f"Redis does not answer: {error}", part="redis") from error
    except OutOfMemoryError as error:
        raise Transient(f"Redis is full: {error}", part="redis", remedy="raise its maxmemory") from error
    except ResponseError as error:
        if str(error).startswith(("MISCONF", "NOREPLICAS", "BUSY", "LOADING", "CLUSTERDOWN")):
            raise Transient(f"Redis cannot write now: {error}", part="redis") from error
        raise Terminal(f"Redis refuses: {error}", part="redis") from error
    except RedisError as error:
        raise Terminal(f"Redis: {error}", part="redis") from error


class Arguments(NamedTuple):
    """So many arguments of a command as Redis' protocol writes them: `$<size>\\r\\n<bytes>\\r\\n` each."""

    number: int
    written: memoryview


def send(client: redis.Redis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send commands at once and read their answers, in order; raises what the first bad one says. The
    last word of a command may be Arguments.

    The client's own pipeline looks at every argument in Python: 2 µs of each; this takes 0.2.
    """
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        connection.send_packed_command([_packed(command) for command in commands])
        return [connection.read_response() for _ in commands]
    except BaseException:
        # Answers may be left on the way: nobody else must read them.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def _packed(command: tuple[Any, ...]) -> bytes:
    last = command[-1]
    alone: bytes = pack_command(command[:-1] if isinstance(last, Arguments) else command)
    if not isinstance(last, Arguments):
        return alone
    number = len(command) - 1 + last.number
    return b"".join([b"*%d" % number, alone[alone.index(b"\r\n") :], last.written])
