"""A contract drafted from a source's catalogue and samples."""

from __future__ import annotations

from collections.abc import Mapping

def draft(url: str, password: str | None, department: str, system: str, secret: Mapping[str, str] | None = None) -> str:
    return ""
