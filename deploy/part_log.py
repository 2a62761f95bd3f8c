"""What a part's log says of its troubles."""

from __future__ import annotations

import re

from datarail.settings import Settings

#: Bytes of a log's end that are looked at.
_END = 64 << 10
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ [A-Z]+ ")


def last_words(settings: Settings, part: str, about: str = "") -> str | None:
    """The last line, without its time, unless all is well by it; None when there is none.

    about: the last of those that speak of this.
    """
    log = settings.home / "logs" / f"{part}.log"
    if not log.exists():
        return None
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _END))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    if about:
        lines = [line for line in lines if about in line and not _well(line)]
    if not lines or _well(lines[-1]):
        return None
    return _STAMP.sub("", lines[-1])


def _well(line: str) -> bool:
    return " INFO " in line
