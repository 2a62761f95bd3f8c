"""What of a value may be shown in a finding: enough to find it again, not enough to misuse it."""

from __future__ import annotations

import re

from datarail.contract import CitizenId, Item, Mobile

_NAME = re.compile(r"姓名|名字|法定代表人|负责人|联系人|户主|监护人|^(xm|name|.*_name)$", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"[0-9０-９]{11,}[0-9Xx]?")
_LONGEST = 40


def mask(name: str, item: Item, value: str) -> str:
    """An id keeps 6 and 4 characters, a phone number 3 and 4, a name its surname.

    Items of grade L3 and L4 keep their first character; in all others long numbers are masked
    wherever they stand, for people write them anywhere.
    """
    if any(isinstance(check, CitizenId) for check in item.checks):
        return _keep(value, 6, 4)
    if any(isinstance(check, Mobile) for check in item.checks):
        return _keep(value, 3, 4)
    if _NAME.search(item.title or name) or _NAME.search(name):
        return _keep(value, 1, 0)
    if item.grade in ("L3", "L4"):
        return _keep(value, 1, 0)
    shown = _LONG_NUMBER.sub(lambda found: _keep(found[0], 6 if len(found[0]) >= 15 else 3, 4), value)
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…"


def _keep(value: str, first: int, last: int) -> str:
    # Of a value too short to hide anything in the middle, no more than half is shown.
    if len(value) <= first + last:
        first, last = min(first, len(value) // 3), min(last, len(value) // 4)
    hidden = len(value) - first - last
    return value[:first] + "*" * min(hidden, 20) + (value[-last:] if last else "")
