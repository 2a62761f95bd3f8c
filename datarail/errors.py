"""What can go wrong, by what has to be done about it.

RailError
├── Transient      a service is away: retry with backoff, nothing is lost
├── Terminal       going on would lose or falsify data: stop loudly
│   └── ContractError   a station's contract is wrong; names file, line and field
└── BadRecord      one record is at fault: quarantine it with the reason, go on
"""

from __future__ import annotations


class RailError(Exception):
    """The root. `part` names the part of the line, `remedy` the way out, in words for people."""

    def __init__(self, message: str, *, part: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.part = part
        self.remedy = remedy

    def __str__(self) -> str:
        where = f"{self.part}: " if self.part else ""
        remedy = f" → {self.remedy}" if self.remedy else ""
        return f"{where}{self.message}{remedy}"


class Transient(RailError):
    """A service is away or busy. The same call may succeed later."""


class Terminal(RailError):
    """Only a person can mend this; the part stops and says so."""


class ContractError(Terminal):
    """A contract (stations/*.yaml) that cannot be used as it is."""


class BadRecord(RailError):
    """A record that cannot be read or must not pass; it goes to quarantine whole."""
