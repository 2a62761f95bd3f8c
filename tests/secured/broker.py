"""A Kafka broker that speaks only to those it knows: TLS, SASL, client certificates."""

from __future__ import annotations

import base64
import socket
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from certificates import Authority
from started import Started

from datarail.settings import DEFAULT_PORTS, Settings
from deploy.embedded import kafka_server
from deploy.embedded.install import install
from deploy.embedded.ports import any_free

USER, PASSWORD = "datarail", "it's 50% secret; #1"
_JAAS = "org.apache.kafka.common.security"


class Broker:
    """One process. Its listeners' addresses: `scram` (SASL_SSL, SCRAM-SHA-512), `mutual` (SSL, wants a
    certificate of the client), `plain` (SASL_PLAINTEXT, PLAIN and SCRAM-SHA-256)."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        software = install(Settings.load(folder), lambda line: None)
        self.ports = {name: any_free() for name in ("SCRAM", "MUTUAL", "PLAIN", "CONTROLLER")}
        self.scram, self.mutual, self.plain, _ = (f"127.0.0.1:{port}" for port in self.ports.values())
        conf = folder / "kafka.properties"
        ports = DEFAULT_PORTS | {"kafka_controller": self.ports["CONTROLLER"]}
        conf.write_text(
            # Of a name that stands twice the last one holds.
            kafka_server.properties(ports, folder / "kafka")
            + _secured(self.ports, authority.file, authority.issue("broker").both)
        )
        small = ("-Xmx256m", "-XX:+UseSerialGC")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        users = [
            f"--add-scram={kind}=[name={USER},password={PASSWORD}]"
            for kind in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        ]
        tool = kafka_server.java(software, "kafka.tools.StorageTool", *small)
        words = ("format", f"--cluster-id={cluster}", "--config", str(conf), *users)
        done = subprocess.run((*tool, *words), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr or done.stdout
        command = (*kafka_server.java(software, "kafka.Kafka", *small), str(conf))
        self._started = Started(command, folder / "kafka.log")
        # It listens when it is ready and not before.
        place = ("127.0.0.1", self.ports["SCRAM"])
        self._started.wait(lambda: socket.create_connection(place, timeout=1).close())

    def stop(self) -> None:
        self._started.stop()


def _secured(ports: Mapping[str, int], authority: Path, identity: Path) -> str:
    protocols = {"SCRAM": "SASL_SSL", "MUTUAL": "SSL", "PLAIN": "SASL_PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
    addresses = [f"{name}://127.0.0.1:{port}" for name, port in ports.items()]
    scram = f"{_JAAS}.scram.ScramLoginModule required;"
    options = {
        "listeners": ",".join(addresses),
        "advertised.listeners": ",".join(address for address in addresses if "CONTROLLER" not in address),
        "listener.security.protocol.map": ",".join(f"{name}:{to}" for name, to in protocols.items()),
        "inter.broker.listener.name": "MUTUAL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": identity,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": authority,
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": scram,
        "listener.name.plain.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
        "listener.name.plain.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.plain.plain.sasl.jaas.config": (
            f'{_JAAS}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        ),
    }
    return "".join(f"{name}={value}\n" for name, value in options.items())
