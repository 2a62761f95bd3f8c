"""What held changes of a source key have brought since its last good one, beside its contribution. Pure.

A source leaves out of an update what has not changed (TOAST): the change that mends a held one need not
bring again what that one brought. Until then the source key's contribution ends in a memory:

    <version><state>...\\x1e\\x1e<version of the last good change>{"item": value, ...}

The version in front is then that of the newest held change. Of each item there is the newest value that
was told, as a small car spells it; what was at fault or left out was not told. Where nothing good is
known the state is D, deleted.

A newer good change takes what it left out from the memory and writes the contribution anew: memory and
contribution change in one write, with the mark, and only after Redis. So whatever comes again after a
crash finds the memory as the batch before left it, or the mending change itself as what is known of the
key; held ones before that are older, and remembered no more.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from sinks.version import VERSION_WIDTH

#: States of a contribution: there; there, as one flagged in Redis with a held change (sinks.themes);
#: deleted.
SET, FLAGGED, DELETED = b"S", b"H", b"D"
#: In no contribution: what is before it is JSON, or texts in which \x1e stands alone.
_MEMORY = b"\x1e\x1e"
_STATE = slice(VERSION_WIDTH, VERSION_WIDTH + 1)
_NEVER = b"0" * VERSION_WIDTH


class Held(NamedTuple):
    """A source key whose last change is held. version, commit (µs): that change's; told: by item the
    values that it brought, or a held one before it."""

    key: str
    version: str
    commit: int
    told: dict[str, Any]


def at_fault(changes: Iterable[tuple[str, str | None]], items: Collection[str]) -> dict[str, list[str]]:
    """version → those of these items whose values held the change. changes: version and findings, as in a
    clean car; one that came twice, cleaned anew, has been at fault where it ever was."""
    found: dict[str, list[str]] = {}
    for version, findings in changes:
        hard = {each["item"] for each in orjson.loads(findings or "[]") if each["severity"] == "hard"}
        hard.update(found.get(version, ()))
        # Of a change held as a whole, which names no item, no value was read.
        if faulty := [item for item in items if item in hard or "" in hard]:
            found[version] = faulty
    return found


def newest(rows: Iterable[Held], untold: Mapping[str, Collection[str]]) -> list[Held]:
    """Of held changes, sorted by key and version, the last of each key, with what those before told.
    untold: version → items that the change did not tell, whatever stands there."""
    found: dict[str, Held] = {}
    for row in rows:
        silent, before = untold.get(row.version, ()), found.get(row.key)
        told = {item: value for item, value in row.told.items() if item not in silent} if silent else row.told
        found[row.key] = row._replace(told=before.told | told if before else told)
    return list(found.values())


class _Parts(NamedTuple):
    """contribution: state and what follows; good: version of the last good change; told: by item."""

    contribution: bytes
    good: bytes
    told: dict[str, Any]


def _parts(value: bytes) -> _Parts:
    contribution, there, memory = value[VERSION_WIDTH:].partition(_MEMORY)
    if not there:
        return _Parts(contribution, value[:VERSION_WIDTH], {})
    return _Parts(contribution, memory[:VERSION_WIDTH], json.loads(memory[VERSION_WIDTH:]))


def _whole(version: bytes, parts: _Parts) -> bytes:
    # Not orjson: a float may be no number.
    told = json.dumps(parts.told, ensure_ascii=False, separators=(",", ":")).encode()
    return version + parts.contribution + _MEMORY + parts.good + told


def without_memory(value: bytes) -> bytes:
    """A contribution as its sink wrote it."""
    return value.partition(_MEMORY)[0]


def is_there(value: bytes | None) -> bool:
    """Whether a contribution is of a row that is not deleted."""
    return value is not None and value[_STATE] != DELETED


def told_by_held(value: bytes | None, version: str) -> dict[str, Any]:
    """What held changes older than this one told, by item."""
    if value is None or _MEMORY not in value or value[:VERSION_WIDTH] > version.encode():
        return {}
    return _parts(value).told


def is_newer(value: bytes | None, item: str, version: str) -> bool:
    """Whether a contribution, or what is remembered beside it, tells an item as it was after this version.
    Of a remembered value that of the last held change is taken for its version."""
    if value is None or value[:VERSION_WIDTH] <= version.encode():
        return False
    parts = _parts(value)
    return item in parts.told or (is_there(value) and parts.good > version.encode())


def remembering(known: bytes | None, held: Held) -> bytes | None:
    """What is known of a source key, with a held change remembered; None when that is overtaken."""
    version = held.version.encode()
    if known is None:
        return _whole(version, _Parts(DELETED, _NEVER, held.told))
    parts, there = _parts(known), known[:VERSION_WIDTH]
    if version < parts.good:
        return None
    told = parts.told | held.told if version >= there else held.told | parts.told
    return _whole(max(version, there), parts._replace(told=told))


def taken(known: Sequence[bytes | None], values: Sequence[bytes]) -> tuple[list[bool], dict[int, bytes]]:
    """Which good changes are to be taken, and what to write of those that come late: older than held ones
    that are remembered, which they do not mend. known, values: contributions by source key."""
    fresh = [
        old is None or old[:VERSION_WIDTH] <= new[:VERSION_WIDTH]
        for old, new in zip(known, values, strict=True)
    ]
    late: dict[int, bytes] = {}
    if not all(fresh):
        for at, (old, new) in enumerate(zip(known, values, strict=True)):
            # Redis takes nothing that is older than the change it is flagged with.
            if fresh[at] or old is None or _MEMORY not in old or old[_STATE] == FLAGGED:
                continue
            parts, version = _parts(old), new[:VERSION_WIDTH]
            if parts.good <= version:
                fresh[at] = True
                late[at] = _whole(old[:VERSION_WIDTH], _Parts(new[VERSION_WIDTH:], version, parts.told))
    return fresh, late
