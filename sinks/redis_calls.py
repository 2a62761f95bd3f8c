"""Connecting to Redis, and what its errors mean to a sink."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import redis
from hiredis import pack_command
from redis._parsers.hiredis import NOT_ENOUGH_DATA
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

_MULTI, _EXEC, _UNWATCH = (pack_command((word,)) for word in ("MULTI", "EXEC", "UNWATCH"))

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


class Commands(NamedTuple):
    """So many commands as Redis' protocol writes them."""

    number: int
    written: memoryview


class Watched:
    """One connection, and keys that are being looked at. `values` are theirs when last looked at."""

    def __init__(self, connection: Any, keys: Sequence[bytes]) -> None:
        self._connection = connection
        words: tuple[tuple[Any, ...], ...] = ("WATCH", *keys), ("MGET", *keys)
        self._watch = b"".join(map(pack_command, words))
        connection.send_packed_command([self._watch])
        self.values = self._looked()

    def together(self, commands: Sequence[Commands]) -> bool:
        """All of the commands at once; none of them, and False, where a key has been written meanwhile."""
        connection = self._connection
        # In one piece, for one change of processes.
        connection.send_packed_command(
            [b"".join([_MULTI, *(each.written for each in commands), _EXEC, self._watch])]
        )
        connection.read_response()
        _understood(connection, sum(each.number for each in commands))
        done = connection.read_response()
        self.values = self._looked()
        if done and {*map(type, done)} != {int}:
            raise next(each for each in done if isinstance(each, RedisError))
        return done is not None

    def _looked(self) -> list[bytes | None]:
        self._connection.read_response()
        values: list[bytes | None] = self._connection.read_response()
        return values


@contextmanager
def watched(client: redis.Redis, keys: Sequence[bytes]) -> Iterator[Watched]:
    """Not for a cluster. A script of so many commands takes half as much again of Redis' time."""
    with _connection(client) as connection:
        yield Watched(connection, keys)
        connection.send_packed_command([_UNWATCH])
        connection.read_response()


def send(client: redis.Redis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send commands at once and read their answers, in order; raises what the first bad one says.

    The client's own pipeline looks at every argument in Python: 2 µs of each; this takes 0.2.
    """
    with _connection(client) as connection:
        connection.send_packed_command([pack_command(command) for command in commands])
        return [connection.read_response() for _ in commands]


@contextmanager
def _connection(client: redis.Redis) -> Iterator[Any]:
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        yield connection
    except BaseException:
        # Answers may be left on the way: nobody else must read them.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def _understood(connection: Any, number: int) -> None:
    """Read the answers to so many commands between MULTI and EXEC: that each will be done.

    With the client's read_response() they would take 2 µs each instead of 0.1.
    """
    parser = connection._parser
    while number:
        said = list(islice(iter(parser._reader.gets, NOT_ENOUGH_DATA), number))
        if said.count(b"QUEUED") < len(said):
            raise next(each for each in said if isinstance(each, RedisError))
        number -= len(said)
        if number:
            parser.read_from_socket()
