"""How Kafka is reached: its addresses and `kafka_security`, as each of the four clients spells them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from datarail import tls
from datarail.errors import RailError, Transient
from datarail.tls import AuthorityFile, ReadableFile, fault

#: Milliseconds that kafka-python looks for a broker before it says that there is none.
_LOOKING_MS = 10_000


class _Unshown(str):
    """A password: clients write their arguments into their debug logs."""

    def __repr__(self) -> str:
        return "'…'"


class KafkaSecurity(BaseModel):
    """`kafka_security:` of datarail.yaml. The passwords come from the environment or from files."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    user: str = ""
    password: SecretStr = SecretStr("")
    password_file: ReadableFile | None = None
    ca_file: AuthorityFile | None = None
    certificate_file: ReadableFile | None = None
    key_file: ReadableFile | None = None
    key_password: SecretStr = SecretStr("")
    key_password_file: ReadableFile | None = None

    @property
    def tls(self) -> bool:
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def sasl(self) -> bool:
        return self.protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    @model_validator(mode="after")
    def _whole(self) -> KafkaSecurity:
        if self.sasl and not self.user:
            raise fault(f"protocol {self.protocol} without user", "give the user's name as user")
        if self.sasl and not self.password.get_secret_value():
            raise fault(
                f"protocol {self.protocol} without a password",
                "set DATARAIL_KAFKA_PASSWORD, or name a file that holds it as password_file",
            )
        if not self.sasl and self.user:
            raise fault(
                f"user, but protocol {self.protocol} asks for none", "let protocol be SASL_SSL, or drop user"
            )
        if not self.tls and (self.ca_file or self.certificate_file or self.key_file):
            raise fault(
                f"a certificate or key, but protocol {self.protocol} is without TLS",
                "let protocol be SSL or SASL_SSL, or drop ca_file, certificate_file and key_file",
            )
        if bool(self.certificate_file) != bool(self.key_file):
            raise fault(
                "one of certificate_file and key_file without the other", "give both as PEM, or neither"
            )
        try:
            if self.tls:
                self.context()
        except (ssl.SSLError, ValueError):
            raise fault(
                f"certificate_file {self.certificate_file} and key_file {self.key_file} cannot be used",
                "give the certificate and its own key as PEM; a key that is encrypted needs its password: "
                "DATARAIL_KAFKA_KEY_PASSWORD, or key_password_file",
            ) from None
        return self

    def context(self) -> ssl.SSLContext:
        """For the clients in Python."""
        password = self.key_password.get_secret_value()
        return tls.context(self.ca_file, self.certificate_file, self.key_file, password)

    def arguments(self) -> dict[str, Any]:
        """As kafka-python and aiokafka spell it; of PLAINTEXT there is nothing to say."""
        given: dict[str, Any] = {}
        if self.tls or self.sasl:
            given["security_protocol"] = self.protocol
        if self.tls:
            given["ssl_context"] = self.context()
        if self.sasl:
            given["sasl_mechanism"] = self.mechanism
            given["sasl_plain_username"] = self.user
            given["sasl_plain_password"] = _Unshown(self.password.get_secret_value())
        return given


@dataclass(frozen=True)
class KafkaAccess:
    """What a client of Kafka must be given, whichever it is. servers: host:port, host:port, …"""

    servers: str
    security: KafkaSecurity

    def __str__(self) -> str:
        return self.servers

    def kafka_python(self) -> dict[str, Any]:
        """Of KafkaConsumer, KafkaProducer and KafkaAdminClient."""
        return {
            "bootstrap_servers": self.servers,
            "bootstrap_timeout_ms": _LOOKING_MS,
            **self.security.arguments(),
        }

    def aiokafka(self) -> dict[str, Any]:
        """Of AIOKafkaConsumer, AIOKafkaProducer and AIOKafkaAdminClient."""
        return {"bootstrap_servers": self.servers, **self.security.arguments()}

    def faust(self) -> dict[str, Any]:
        """Of faust.App."""
        from faust.auth import SASLCredentials, SSLCredentials

        security = self.security
        context = security.context() if security.tls else None
        credentials: Any = None
        if security.sasl:
            credentials = SASLCredentials(
                username=security.user,
                password=security.password.get_secret_value(),
                mechanism=security.mechanism,
                ssl_context=context,
            )
        elif context is not None:
            credentials = SSLCredentials(context)
        brokers = [f"kafka://{server.strip()}" for server in self.servers.split(",")]
        return {"broker": brokers, "broker_credentials": credentials}

    def librdkafka(self) -> dict[str, str | int | float | bool]:
        """Of confluent_kafka's clients."""
        security = self.security
        given: dict[str, str | int | float | bool] = {"bootstrap.servers": self.servers}
        if security.tls or security.sasl:
            given["security.protocol"] = security.protocol
        if security.ca_file is not None:
            given["ssl.ca.location"] = str(security.ca_file)
        if security.certificate_file is not None:
            given["ssl.certificate.location"] = str(security.certificate_file)
            given["ssl.key.location"] = str(security.key_file)
            given["ssl.key.password"] = security.key_password.get_secret_value()
        if security.sasl:
            given["sasl.mechanism"] = security.mechanism
            given["sasl.username"] = security.user
            given["sasl.password"] = security.password.get_secret_value()
        return given

    def away(self, error: object, part: str) -> RailError:
        """What it means that a client of this part found no broker: Transient, or Terminal where the
        brokers refuse us; to know that, they are asked again, for some seconds at most."""
        from datarail.kafka_refusal import refusal

        text = f"Kafka at {self} is away: {error!r}"
        remedy = f"is it up, and does it speak {self.security.protocol} at this address?"
        return refusal(self, part) or Transient(text, part=part, remedy=remedy)
