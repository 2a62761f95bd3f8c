"""datarail.yaml: what is refused, in words that name file, field and way out; secrets stay secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from datarail.errors import ContractError
from datarail.settings import SECRETS, Settings


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)


def load(folder: Path, text: str) -> Settings:
    (folder / "datarail.yaml").write_text(text, encoding="utf-8")
    return Settings.load(folder)


def test_without_a_word_kafka_is_spoken_to_plainly(tmp_path: Path) -> None:
    access = load(tmp_path, "kafka: a:1,b:2\n").kafka_access
    assert str(access) == "a:1,b:2"
    assert access.aiokafka() == {"bootstrap_servers": "a:1,b:2"}
    assert access.librdkafka() == {"bootstrap.servers": "a:1,b:2"}
    assert access.faust() == {"broker": ["kafka://a:1", "kafka://b:2"], "broker_credentials": None}


def test_no_part_imports_a_client_by_its_settings() -> None:
    clients = ("kafka", "aiokafka", "faust", "confluent_kafka", "redis", "clickhouse_driver")
    code = (
        "import sys; from datarail.settings import Settings; "
        "a = Settings.load().kafka_access; a.kafka_python(), a.aiokafka(), a.librdkafka(), a.away('', ''); "
        f"assert not set({clients!r}) & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


SASL = "protocol: SASL_PLAINTEXT, user: rail"


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("{user: rail}", r"kafka_security\.protocol: Field required"),
        (
            "{protocol: TLS}",
            r"kafka_security\.protocol: Input should be 'PLAINTEXT', .* or 'SASL_SSL'",
        ),
        (f"{{{SASL}, mechanism: MD5}}", r"kafka_security\.mechanism: Input should be .* 'SCRAM-SHA-512'"),
        ("{protocol: SSL, verify: false}", r"kafka_security\.verify: unknown key"),
        (
            f"{{{SASL}}}",
            r"kafka_security: .* without a password → set DATARAIL_KAFKA_PASSWORD",
        ),
        ("{protocol: SASL_SSL}", r"kafka_security: protocol SASL_SSL without user → give"),
        (f"{{{SASL}, password: x}}", r"kafka_security\.password: no secret .* → set DATARAIL_KAFKA_PASSWORD"),
        (
            f"{{{SASL}, password_file: gone}}",
            r"kafka_security\.password_file: .*/gone cannot be read",
        ),
        (
            "{protocol: SSL, ca_file: gone}",
            r"kafka_security\.ca_file: .*/gone cannot be .* → give a path",
        ),
        ("{protocol: SSL, ca_file: .}", r"kafka_security\.ca_file: .* cannot be read: Is a directory"),
        (
            "{protocol: SSL, ca_file: datarail.yaml}",
            r"kafka_security\.ca_file: .* holds no certificate →",
        ),
        ("{protocol: SSL, certificate_file: datarail.yaml}", r"without the other → give both as PEM"),
        ("{protocol: SSL, key_file: datarail.yaml}", r"without the other → give both as PEM"),
        (
            "{protocol: SSL, certificate_file: datarail.yaml, key_file: datarail.yaml}",
            r"kafka_security: .* cannot be used → .* DATARAIL_KAFKA_KEY_PASSWORD, or key_password_file",
        ),
        ("{protocol: PLAINTEXT, certificate_file: datarail.yaml}", r"is without TLS → let protocol be SSL"),
        ("{protocol: SSL, user: rail}", r"kafka_security: user, but protocol SSL asks for none → let"),
        ("SASL_SSL", r"kafka_security: Input should be"),
    ],
)
def test_kafka_security_that_cannot_be_is_told(tmp_path: Path, block: str, told: str) -> None:
    with pytest.raises(ContractError, match=told) as caught:
        load(tmp_path, f"kafka_security: {block}\n")
    assert str(caught.value).startswith(f"{tmp_path}/datarail.yaml: kafka_security")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("password: x", r"clickhouse\.password: no secret .* → set DATARAIL_CLICKHOUSE_PASSWORD"),
        ("https: true, ca_file: gone", r"clickhouse\.ca_file: .*/gone cannot be read"),
        ("password_file: gone", r"clickhouse\.password_file: .*/gone cannot be read"),
    ],
)
def test_clickhouse_that_cannot_be_is_told(tmp_path: Path, more: str, told: str) -> None:
    with pytest.raises(ContractError, match=told):
        load(tmp_path, f"clickhouse: {{tcp_port: 1, http_port: 2, {more}}}\n")


def test_secrets_come_from_files_and_over_them_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(" 半 secret \n", encoding="utf-8")
    text = (
        f"kafka_security: {{{SASL}, password_file: secret}}\n"
        f"clickhouse: {{tcp_port: 1, http_port: 2, password_file: {tmp_path}/secret}}\n"
    )
    settings = load(tmp_path, text)
    assert settings.kafka_security.password.get_secret_value() == " 半 secret "
    assert settings.clickhouse.password.get_secret_value() == " 半 secret "
    monkeypatch.setenv("DATARAIL_KAFKA_PASSWORD", "newer")
    monkeypatch.setenv("DATARAIL_CLICKHOUSE_PASSWORD", "newer")
    settings = load(tmp_path, text)
    assert settings.kafka_security.password.get_secret_value() == "newer"
    assert settings.clickhouse.password.get_secret_value() == "newer"
    # What the last `up` was given is for shells in which nothing is set, and no file is named.
    settings.environment_file.parent.mkdir(parents=True)
    settings.environment_file.write_text('{"DATARAIL_KAFKA_PASSWORD": "noted"}')
    assert load(tmp_path, text).kafka_security.password.get_secret_value() == "newer"
    monkeypatch.delenv("DATARAIL_KAFKA_PASSWORD")
    assert load(tmp_path, text).kafka_security.password.get_secret_value() == " 半 secret "
    bare = load(tmp_path, f"kafka_security: {{{SASL}}}\n")
    assert bare.kafka_security.password.get_secret_value() == "noted"
    said = f"{settings!r} {settings.kafka_access!r} {settings.kafka_access} {settings.model_dump_json()}"
    assert "newer" not in said
