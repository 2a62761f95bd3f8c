"""ClickHouse over HTTPS, against a real server."""

from __future__ import annotations

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
from tests.connectors.running import eventually


def ask(address: Address) -> None:
    """As every part does: again, while there is no answer. Raises Terminal where it is refused."""
    with closing(ClickHouse(address)) as client:

        def answers() -> bool:
            try:
                return client.rows("SELECT 1") == [[1]]
            except Transient:
                return False

        eventually(answers, "an answer of ClickHouse")


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
        client = ClickHouse(store.secured.model_copy(update={"ca_file": other}))
        with pytest.raises(Terminal, match=r"certificate is not trusted.*clickhouse: ca_file"):
            client.rows("SELECT 1")


def test_a_certificate_for_another_host_is_refused(store: Server) -> None:
    elsewhere = store.secured.model_copy(update={"host": "127.1"})  # the same machine, otherwise named
    client = ClickHouse(elsewhere)
    with pytest.raises(Terminal, match=r"127\.1.*which must name this host"):
        client.rows("SELECT 1")


def test_a_port_without_tls_is_told(store: Server) -> None:
    plain = store.secured.model_copy(update={"http_port": store.plain.http_port})
    with pytest.raises(Terminal, match="port for HTTPS"):
        ask(plain)


def test_an_authority_without_https_is_refused(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "datarail.yaml").write_text(
        f"clickhouse: {{tcp_port: 1, http_port: 2, ca_file: {authority.file}}}\n"
    )
    with pytest.raises(ContractError, match="clickhouse: ca_file, but https is false → write https: true"):
        Settings.load(tmp_path)


def test_a_wrong_password_names_the_way_out(store: Server) -> None:
    wrong = store.secured.model_copy(update={"password": SecretStr("wrong")})
    with pytest.raises(Terminal, match="DATARAIL_CLICKHOUSE_PASSWORD"):
        ask(wrong)
