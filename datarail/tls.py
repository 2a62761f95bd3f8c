"""TLS as the line speaks it to Kafka and ClickHouse: files are PEM, and certificates are always verified."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

#: Ends of a handshake that a server which is going down may leave behind.
_PASSING = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


def fault(message: str, remedy: str) -> PydanticCustomError:
    """What a validator raises; Settings.load makes a ContractError of it."""
    return PydanticCustomError("unusable", "{message}", {"message": message, "remedy": remedy})


def _readable(file: Path) -> Path:
    try:
        with file.open("rb"):
            return file
    except OSError as error:
        raise fault(
            f"{file} cannot be read: {error.strerror}",
            "give a path (from the working folder on, if it is not absolute) that this user may read",
        ) from None


def _authority(file: Path) -> Path:
    try:
        context(_readable(file))
    except ssl.SSLError:
        raise fault(f"{file} holds no certificate", "give the authority's certificate as PEM") from None
    return file


ReadableFile = Annotated[Path, AfterValidator(_readable)]
AuthorityFile = Annotated[Path, AfterValidator(_authority)]


def context(
    authority: Path | None, certificate: Path | None = None, key: Path | None = None, password: str = ""
) -> ssl.SSLContext:
    """A client's context. authority: who signs for servers; None: those the system trusts. certificate
    and key: our own, for servers that ask for one. Raises ssl.SSLError where they do not fit."""
    made = ssl.create_default_context(cafile=authority)
    if certificate is not None:
        # Without a password of ours OpenSSL would ask at the terminal.
        made.load_cert_chain(certificate, key, password=lambda: password)
    return made


def refusal(error: BaseException | None) -> str | None:
    """Why a server's and our TLS do not come together; None where the next try may well succeed."""
    if not isinstance(error, ssl.SSLError) or isinstance(error, _PASSING):
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    reason = error.reason or str(error)
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return f"it does not accept our certificate: {reason}"
    return None if "INTERNAL_ERROR" in reason else f"no TLS is agreed on: {reason}"
