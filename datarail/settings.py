"""Where the line's servers are: environment over datarail.yaml over the embedded defaults.

A working folder holds `stations/` (contracts), optionally `datarail.yaml` and
`indicators.yaml`, and `.datarail/` (data, logs, ports, secrets of the embedded line).
In production only addresses and credentials differ. A secret comes from the environment, or from a
file that datarail.yaml names, or as it was set at the last `datarail up`; never from datarail.yaml itself.
"""

from __future__ import annotations

import json
import os
import ssl
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, model_validator

from datarail import tls
from datarail.errors import ContractError
from datarail.kafka_access import KafkaAccess, KafkaSecurity
from datarail.tls import AuthorityFile, ReadableFile, fault

#: Ports of the embedded line. `datarail up` moves one that is taken and notes it in ports.json.
DEFAULT_PORTS: dict[str, int] = {
    "kafka": 19092,
    "kafka_controller": 19093,
    "clickhouse_tcp": 19000,
    "clickhouse_http": 18123,
    "redis": 16379,
    "postgres": 15432,
    "metrics": 19100,  # the first of a block: part i serves its metrics on metrics + i
}

#: By variable of the environment: the block and the field of the secret. `<field>_file` is the other way.
SECRETS: dict[str, tuple[str, str]] = {
    "DATARAIL_KAFKA_PASSWORD": ("kafka_security", "password"),
    "DATARAIL_KAFKA_KEY_PASSWORD": ("kafka_security", "key_password"),
    "DATARAIL_CLICKHOUSE_PASSWORD": ("clickhouse", "password"),
}


class ClickHouse(BaseModel):
    """`clickhouse:` of datarail.yaml. https: of both ports; ca_file: who signs for the server, where the
    system does not know it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    host: str = "127.0.0.1"
    tcp_port: int
    http_port: int
    user: str = "default"
    password: SecretStr = SecretStr("")
    password_file: ReadableFile | None = None
    https: bool = False
    ca_file: AuthorityFile | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.https else 'http'}://{self.host}:{self.http_port}"

    def context(self) -> ssl.SSLContext | None:
        """For HTTPS; None where it is HTTP."""
        return tls.context(self.ca_file) if self.https else None

    @model_validator(mode="after")
    def _whole(self) -> ClickHouse:
        if self.ca_file and not self.https:
            raise fault("ca_file, but https is false", "write https: true, or drop ca_file")
        return self


class Settings(BaseModel):
    """One line's addresses and sizes. Sizes are rows or seconds as their names say."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    folder: Path
    embedded: bool = True
    kafka: str
    kafka_security: KafkaSecurity = KafkaSecurity(protocol="PLAINTEXT")
    clickhouse: ClickHouse
    redis: str
    #: Of every topic; fixed once there are topics, since a key must stay in its partition. Work is
    #: divided by them, so a cluster wants as many as it will ever have processes of one kind. On one
    #: machine each only makes more and smaller trains: at 1,000 commits a second two had three times
    #: one's latency, and drained no faster.
    partitions: int = 1
    replication: int = 1
    metrics_port: int = DEFAULT_PORTS["metrics"]

    @property
    def home(self) -> Path:
        """The folder of everything the line itself writes on this machine."""
        return self.folder / ".datarail"

    @property
    def stations(self) -> Path:
        return self.folder / "stations"

    @property
    def environment_file(self) -> Path:
        """Where secrets are kept, by variable, from one `up` to the next; for nobody else to read."""
        return _environment_file(self.folder)

    @property
    def served_here(self) -> bool:
        """Whether every server it names is the folder's own, which `datarail up` starts."""
        own = _own_servers(self.folder)
        named = (self.kafka, self.redis, self.clickhouse.url)
        return self.embedded and named == (own["kafka"], own["redis"], ClickHouse(**own["clickhouse"]).url)

    @property
    def kafka_access(self) -> KafkaAccess:
        """What Kafka's clients are given."""
        return KafkaAccess(self.kafka, self.kafka_security)

    @classmethod
    def load(cls, folder: Path | None = None) -> Settings:
        """Read the settings of a working folder; raises ContractError naming file and field."""
        folder = (folder or Path(os.environ.get("DATARAIL_FOLDER", "."))).resolve()
        values = _own_servers(folder) | {"metrics_port": embedded_ports(folder)["metrics"]}
        file = folder / "datarail.yaml"
        if file.exists():
            values |= yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        for name in ("kafka", "redis", "partitions", "replication", "embedded"):
            if (value := os.environ.get(f"DATARAIL_{name.upper()}")) is not None:
                values[name] = value
        for block in {block for block, _ in SECRETS.values()}:
            if isinstance(given := values.get(block), dict):
                values[block] = _filled(block, given, file)
        try:
            return cls(folder=folder, **values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            message = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
            remedy = str(first.get("ctx", {}).get("remedy", ""))
            raise ContractError(f"{field}: {message}", part=str(file), remedy=remedy) from None


def _filled(block: str, given: dict[str, Any], file: Path) -> dict[str, Any]:
    """A block of datarail.yaml with its secrets, and with paths from the working folder on."""
    filled = {
        name: file.parent / value if name.endswith("_file") and isinstance(value, str) else value
        for name, value in given.items()
    }
    for variable, (place, name) in SECRETS.items():
        if place != block:
            continue
        if name in given:
            raise ContractError(
                f"{block}.{name}: no secret may stand in this file",
                part=str(file),
                remedy=f"set {variable}, or write it into a file of its own and name that as {name}_file",
            )
        secret = filled.get(f"{name}_file")
        if variable in os.environ:
            filled[name] = os.environ[variable]
        elif isinstance(secret, Path):
            if secret.is_file() and os.access(secret, os.R_OK):
                filled[name] = secret.read_text(encoding="utf-8").strip("\r\n")
        elif variable in (noted := _noted(_environment_file(file.parent))):
            filled[name] = noted[variable]
    return filled


def _environment_file(folder: Path) -> Path:
    return folder / ".datarail" / "secrets" / "environment.json"


def _own_servers(folder: Path) -> dict[str, Any]:
    """The embedded servers, as datarail.yaml would name them."""
    ports = embedded_ports(folder)
    return {
        "kafka": f"127.0.0.1:{ports['kafka']}",
        "clickhouse": {"tcp_port": ports["clickhouse_tcp"], "http_port": ports["clickhouse_http"]},
        "redis": f"redis://127.0.0.1:{ports['redis']}/0",
    }


def embedded_ports(folder: Path) -> dict[str, int]:
    """The embedded servers' ports: the defaults, over them what `datarail up` settled on."""
    return DEFAULT_PORTS | _noted(folder / ".datarail" / "ports.json")


def _noted(file: Path) -> dict[str, Any]:
    noted: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return noted
