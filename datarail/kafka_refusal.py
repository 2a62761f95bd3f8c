"""Why Kafka's brokers refuse us, where they do.

Kafka's clients try again whatever happens, and say in the end only that no broker was found. So one
connection is made for the reason alone: with aiokafka, the only one that tells it. It is imported when
something has gone wrong, and not by every part.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from datarail import tls
from datarail.errors import Terminal

if TYPE_CHECKING:
    from datarail.kafka_access import KafkaAccess

#: Milliseconds a broker is waited for.
_PATIENCE_MS = 3000


def refusal(access: KafkaAccess, part: str) -> Terminal | None:
    """The refusal of one of the brokers; None where none is there, or all take us, as they do with
    PLAINTEXT. Not for a thread with a running event loop."""
    if not (access.security.tls or access.security.sasl):
        return None
    from aiokafka.conn import collect_hosts

    for host, port, _ in collect_hosts(access.servers):
        if (reason := asyncio.run(_refused(access, host, port))) is not None:
            why, remedy = reason
            return Terminal(f"Kafka at {host}:{port} refuses: {why}", part=part, remedy=remedy)
    return None


async def _refused(access: KafkaAccess, host: str, port: int) -> tuple[str, str] | None:
    """Why, and the way out."""
    from aiokafka import errors
    from aiokafka.conn import create_conn

    security = access.security
    try:
        connection = await create_conn(host, port, request_timeout_ms=_PATIENCE_MS, **security.arguments())
        await connection.close()
    except errors.SaslAuthenticationFailed as error:
        remedy = "check kafka_security.user and its password: DATARAIL_KAFKA_PASSWORD, or password_file"
        return f"user {security.user}: {error}", remedy
    except errors.UnsupportedSaslMechanismError:
        remedy = "let kafka_security.mechanism be one that the brokers enable"
        return f"it does not take mechanism {security.mechanism}", remedy
    except (errors.KafkaError, OSError, TimeoutError) as error:
        if why := tls.refusal(error) or tls.refusal(error.__cause__):
            return why, (
                "check kafka_security: ca_file must hold who signed the broker's certificate, which must "
                "name this address; certificate_file and key_file must be what the broker asks for"
            )
    return None
