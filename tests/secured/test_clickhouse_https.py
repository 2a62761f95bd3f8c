"""ClickHouse over HTTPS, against a real server."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from certificates import Authority
from clickhouse import Server
from pydantic import SecretStr

from datarail.errors import ContractError, Terminal, Transient
from datarail.settings import ClickHouse as Address
from datarail.settings import Settings
from deploy.embedded import clickhouse_setup
from sinks.clickhouse import ClickHouse


def refusal(address: Address) -> str:
    """What a client is told that asks, as every part does, again while there is no answer."""
    until = time.monotonic() + 60
    with closing(ClickHouse(address)) as client:
        while True:
            try:
                return f"answered: {client.rows('SELECT 1')}"
            except Terminal as error:
                return str(error)
            except Transient:
                assert time.monotonic() < until
                time.sleep(0.2)


def test_commands_inserts_and_answers_go_over_https(store: Server) -> None:
    with closing(ClickHouse(store.secured)) as client:
        client.command("CREATE TABLE secured (id Int64, name String) ENGINE = MergeTree ORDER BY id")
        client.insert("secured", pa.table({"id": [1, 2], "name": ["张", "王"]}), token="t")
        assert client.rows("SELECT id, name FROM secured ORDER BY id") == [[1, "张"], [2, "王"]]
        assert client.table("SELECT id FROM secured ORDER BY id")["id"].to_pylist() == [1, 2]


def test_the_health_check_speaks_tls_on_both_ports(store: Server) -> None:
    clickhouse_setup.check(
        Settings.load(Path(__file__).parent).model_copy(update={"clickhouse": store.secured})
    )


def test_an_unknown_authority_is_refused_at_once(store: Server, stranger: Authority) -> None:
    for other in (stranger.file, None):
        said = refusal(store.secured.model_copy(update={"ca_file": other}))
        assert "certificate is not trusted" in said and "clickhouse: ca_file" in said


def test_a_certificate_for_another_host_is_refused(store: Server) -> None:
    elsewhere = store.secured.model_copy(update={"host": "127.1"})  # the same machine, otherwise named
    said = refusal(elsewhere)
    assert "127.1" in said and "which must name this host" in said


def test_a_port_without_tls_is_told(store: Server) -> None:
    plain = store.secured.model_copy(update={"http_port": store.plain.http_port})
    assert "port for HTTPS" in refusal(plain)


def test_an_authority_without_https_is_refused(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "datarail.yaml").write_text(
        f"clickhouse: {{tcp_port: 1, http_port: 2, ca_file: {authority.file}}}\n"
    )
    with pytest.raises(ContractError, match="clickhouse: ca_file, but https is false → write https: true"):
        Settings.load(tmp_path)


def test_a_wrong_password_names_the_way_out(store: Server) -> None:
    wrong = store.secured.model_copy(update={"password": SecretStr("wrong")})
    assert "DATARAIL_CLICKHOUSE_PASSWORD" in refusal(wrong)
