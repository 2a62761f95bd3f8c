"""Where the line's servers are: environment over datarail.yaml over the embedded defaults.

A working folder holds `stations/` (contracts), optionally `datarail.yaml` and
`indicators.yaml`, and `.datarail/` (data, logs, ports, secrets of the embedded line).
In production only addresses and credentials differ.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from datarail.errors import ContractError

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


class ClickHouse(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    host: str = "127.0.0.1"
    tcp_port: int
    http_port: int
    user: str = "default"
    password: SecretStr = SecretStr("")


class Settings(BaseModel):
    """One line's addresses and sizes. Sizes are rows or seconds as their names say."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    folder: Path
    embedded: bool = True
    kafka: str
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

    @classmethod
    def load(cls, folder: Path | None = None) -> Settings:
        """Read the settings of a working folder; raises ContractError naming file and field."""
        folder = (folder or Path(os.environ.get("DATARAIL_FOLDER", "."))).resolve()
        ports = embedded_ports(folder)
        values: dict[str, Any] = {
            "kafka": f"127.0.0.1:{ports['kafka']}",
            "clickhouse": {"tcp_port": ports["clickhouse_tcp"], "http_port": ports["clickhouse_http"]},
            "redis": f"redis://127.0.0.1:{ports['redis']}/0",
            "metrics_port": ports["metrics"],
        }
        file = folder / "datarail.yaml"
        if file.exists():
            values |= yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        for name in ("kafka", "redis", "partitions", "replication", "embedded"):
            if (value := os.environ.get(f"DATARAIL_{name.upper()}")) is not None:
                values[name] = value
        if secret := os.environ.get("DATARAIL_CLICKHOUSE_PASSWORD"):
            values["clickhouse"] = {**values["clickhouse"], "password": secret}
        try:
            return cls(folder=folder, **values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise ContractError(f"{field}: {first['msg']}", part=str(file)) from None


def embedded_ports(folder: Path) -> dict[str, int]:
    """The embedded servers' ports: the defaults, over them what `datarail up` settled on."""
    file = folder / ".datarail" / "ports.json"
    noted = json.loads(file.read_text()) if file.exists() else {}
    return DEFAULT_PORTS | noted
