"""How far a slot's reader has got, as the source itself sees it."""

from __future__ import annotations

import time

import psycopg2

from connectors.postgres.session import connect, explain
from connectors.postgres.setup import Names
from datarail.contract import Contract

_STEP = 0.3


def wait_captured(contract: Contract, url: str, password: str | None, lsn: int, seconds: float) -> bool:
    """Wait until the connector has acknowledged the log up to `lsn`: all trains with changes
    committed below it are in Kafka then. False when it has not within so many seconds.

    Raises Transient when the source is away.
    """
    until = time.monotonic() + seconds
    connection = connect(url, password, name=f"datarail audit {contract.station}")
    try:
        with connection.cursor() as cursor:
            while True:
                cursor.execute(
                    "SELECT (confirmed_flush_lsn - '0/0'::pg_lsn)::bigint FROM pg_replication_slots "
                    "WHERE slot_name = %s",
                    (Names.of(contract).slot,),
                )
                row = cursor.fetchone()
                if row is not None and row[0] is not None and row[0] >= lsn:
                    return True
                if time.monotonic() > until:
                    return False
                time.sleep(_STEP)
    except psycopg2.Error as error:
        raise explain(error, url) from error
    finally:
        connection.close()
