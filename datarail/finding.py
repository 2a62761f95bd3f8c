"""What a rule found wrong with one value, in words a clerk understands."""

from __future__ import annotations

from typing import TypedDict


class Finding(TypedDict):
    """rule: the check's name; item: the item's name; severity: hard or soft;
    dimension: the quality dimension it counts under; value: what was written, masked;
    message: one sentence in Chinese saying what is wrong and what would be right."""

    rule: str
    item: str
    severity: str
    dimension: str
    value: str
    message: str
