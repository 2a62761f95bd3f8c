"""Redis over TLS: `rediss://`, with the authority in the address."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from certificates import Authority
from front import Front

from datarail.errors import Terminal
from datarail.settings import Settings
from sinks.redis_calls import connect, passing


@pytest.fixture
def port(servers: Settings, authority: Authority) -> Iterator[int]:
    front = Front(authority.issue("redis"), urlsplit(servers.redis).port or 0)
    yield front.port
    front.stop()


def test_commands_go_over_tls(port: int, authority: Authority) -> None:
    with passing(), connect(f"rediss://127.0.0.1:{port}/3?ssl_ca_certs={authority.file}") as client:
        client.set("secured", "1")
        assert client.getdel("secured") == b"1"


def test_an_unknown_authority_is_refused(port: int, stranger: Authority) -> None:
    client = connect(f"rediss://127.0.0.1:{port}/3?ssl_ca_certs={stranger.file}")
    with pytest.raises(Terminal, match=r"certificate is not trusted.*→ check the address"), passing():
        client.ping()


def test_a_wrong_password_is_refused(port: int, authority: Authority) -> None:
    client = connect(f"rediss://nobody:wrong@127.0.0.1:{port}/3?ssl_ca_certs={authority.file}")
    with pytest.raises(Terminal, match=r"Redis refuses: .*→ check the address"), passing():
        client.ping()
