"""The time rules judge by. China has one zone and, for data, one offset: +08:00 throughout.

The summer time of 1986–1991 is left out on purpose: departments' systems wrote wall-clock times
without it as often as with it, and a fixed offset can be turned back without ambiguity.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

CHINA = timezone(timedelta(hours=8), "UTC+8")


def china_today() -> date:
    """The calendar day in China."""
    return datetime.now(CHINA).date()
