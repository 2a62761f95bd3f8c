"""Sessions with a PostgreSQL source, and its errors in words that name the way out.

Every session that reads values sets the same output settings, so that a value's text is the
same from the walsender, COPY and the audit.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from datarail.errors import RailError, Terminal, Transient

#: Fixes how values are written as text (the source's own settings may be anything).
OUTPUT_SETTINGS = (
    "-c datestyle=ISO -c timezone=UTC -c intervalstyle=postgres -c extra_float_digits=3 -c bytea_output=hex"
)

Connection = psycopg2.extensions.connection


def connect(url: str, password: str | None, *, name: str, autocommit: bool = True) -> Connection:
    """An ordinary session. Raises Transient when the server is away, Terminal when it refuses us."""
    try:
        connection: Connection = psycopg2.connect(**_parameters(url, password, name))
    except psycopg2.Error as error:
        raise explain(error, url) from error
    connection.set_session(autocommit=autocommit)
    return connection


def connect_replication(url: str, password: str | None, *, name: str) -> Connection:
    """A walsender session for logical replication; raises as `connect` does."""
    try:
        connection: Connection = psycopg2.connect(
            **_parameters(url, password, name),
            connection_factory=psycopg2.extras.LogicalReplicationConnection,
        )
        return connection
    except psycopg2.Error as error:
        raise explain(error, url) from error


def without_password(url: str) -> str:
    """The URL as it may be printed."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    at = f"{quote(parts.username)}@" if parts.username else ""
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit((parts.scheme, f"{at}{host}{port}", parts.path, "", ""))


def _parameters(url: str, password: str | None, name: str) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "dsn": url,
        "application_name": name,
        "connect_timeout": 10,
        "client_encoding": "UTF8",
        "options": OUTPUT_SETTINGS,
        # A source that vanishes without a word is noticed within a minute.
        "keepalives_idle": 20,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
    if password is not None:
        parameters["password"] = password
    return parameters


#: SQLSTATE → what happened and what to do. A state not listed here is Transient when its class says so.
_TERMINAL: dict[str, tuple[str, str]] = {
    "28P01": ("the password is wrong", "mend the password file or variable the contract names"),
    "28000": (
        "the server refuses this user or host",
        "let the DBA add a line for it to pg_hba.conf (for replication as well as the database)",
    ),
    "3D000": ("there is no such database", "mend the database name in source.url"),
    "42501": ("a privilege is missing", "run `datarail attach` again: it prints the SQL the DBA must run"),
    "55000": ("the server is not set up for logical replication", "set wal_level = logical and restart it"),
    "53400": ("no replication slot is free", "raise max_replication_slots and restart the server"),
}
_TRANSIENT_CLASSES = ("08", "40", "53", "57", "58", "XX")


def explain(error: psycopg2.Error, url: str) -> RailError:
    """The error as one that decides: Terminal or Transient, with the way out."""
    part = without_password(url)
    text = " ".join(str(error).split())
    code = error.pgcode or ""
    if not code and isinstance(error, psycopg2.OperationalError):
        # libpq gives no SQLSTATE for a refused login: only its text tells it from a server away.
        code = _login_state(text)
    if code == "55006":
        return Transient(f"the slot is in use by another session: {text}", part=part)
    if code == "55000" and ("invalidated" in text or "can no longer" in text):
        return lost_log(text, part)
    if code == "58P01" and "WAL" in text:
        return lost_log(text, part)
    if code in _TERMINAL:
        what, remedy = _TERMINAL[code]
        return Terminal(f"{what} ({text})", part=part, remedy=remedy)
    if not code or code[:2] in _TRANSIENT_CLASSES:
        return Transient(f"the source is away: {text}", part=part)
    return Terminal(f"the source refuses: {text} (SQLSTATE {code})", part=part)


def lost_log(why: str, part: str) -> Terminal:
    """The changes since our position can no longer be had from the log."""
    return Terminal(
        f"the log the slot stands on is gone, changes were lost: {why}",
        part=part,
        remedy="`datarail resume STATION --resnapshot` begins a new epoch and reads every table again",
    )


def _login_state(text: str) -> str:
    lowered = text.lower()
    if "password authentication failed" in lowered or "no password supplied" in lowered:
        return "28P01"
    if "pg_hba.conf" in lowered or ("role" in lowered and "does not exist" in lowered):
        return "28000"
    if "permission denied" in lowered or "must be superuser or replication role" in lowered:
        return "42501"
    if "database" in lowered and "does not exist" in lowered:
        return "3D000"
    return ""
