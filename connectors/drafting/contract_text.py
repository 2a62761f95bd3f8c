"""A drafted contract as YAML that people read and edit: one item a line, notes as comments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.drafting.suggest import Suggestion

_PLAIN = re.compile(r"[A-Za-z_\u4e00-\u9fff][\w\u4e00-\u9fff./]*")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_LONG = 110


@dataclass(slots=True)
class DraftResource:
    name: str
    table: str
    title: str
    key: Sequence[str]
    items: Sequence[Suggestion]
    feeds: Sequence[Mapping[str, Any]] = field(default_factory=list)
    notes: Sequence[str] = field(default_factory=list)


def contract_text(
    department: str,
    system: str,
    kind: str,
    url: str,
    secret: Mapping[str, str] | None,
    resources: Iterable[DraftResource],
    notes: Sequence[str] = (),
) -> str:
    """The whole file."""
    lines = ["# Drafted by `datarail attach` from the source's catalogue and a sample: read it, mend it."]
    lines += [f"# {note}" for note in notes]
    lines += [
        f"department: {{code: {scalar(department)}, title: ''}}",
        f"system: {{code: {scalar(system)}, title: ''}}",
        "owner: ''  # who answers for this system",
        "source:",
        f"  kind: {kind}",
        f"  url: {scalar(url)}",
    ]
    if secret:
        lines.append(f"  password: {flow(dict(secret))}")
    lines += ["", "resources:"]
    for resource in resources:
        lines += _resource(resource)
    return "\n".join(lines).rstrip() + "\n"


def _resource(resource: DraftResource) -> list[str]:
    lines = [f"  # {note}" for note in resource.notes]
    lines += [f"  {scalar(resource.name)}:", f"    table: {scalar(resource.table)}"]
    if resource.title:
        lines.append(f"    title: {scalar(resource.title)}")
    if len(resource.key) == 1:
        lines.append(f"    key: {scalar(resource.key[0])}")
    elif resource.key:
        lines.append(f"    key: {flow(list(resource.key))}")
    lines.append("    items:")
    for item in resource.items:
        lines += _item(item)
    if resource.feeds:
        lines.append("    feeds:")
        for feed in resource.feeds:
            lines += [
                f"      - store: {feed['store']}",
                f"        key: {scalar(feed['key'])}",
                "        fields:",
            ]
            lines += [f"          {name}: {scalar(item)}" for name, item in feed["fields"].items()]
    return [*lines, ""]


def _item(item: Suggestion) -> list[str]:
    entry = {**item.entry, **({"checks": item.checks} if item.checks else {})}
    note = f"  # {item.note}" if item.note else ""
    short = f"      {scalar(item.name)}: {flow(entry)}"
    if len(short) <= _LONG:
        return [short + note]
    lines = [f"      {scalar(item.name)}:{note}"]
    return lines + [f"        {name}: {flow(value)}" for name, value in entry.items()]


def flow(value: Any) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(name)}: {flow(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(inner) for inner in value) + "]"
    if isinstance(value, int):
        return str(value)
    return scalar(str(value))


def scalar(text: str) -> str:
    """Plain where YAML reads it back as the same text, else quoted (JSON's quotes are YAML's)."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)
