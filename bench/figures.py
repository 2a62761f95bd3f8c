"""Figures read back from bench.json, and how they are written in a table."""

from __future__ import annotations

import re
from typing import Any

#: What a hop is called for people.
HOPS = {
    "raw": "raw train",
    "clean": "subscriber",
    "indicator": "indicator",
    "golden": "golden record",
    "history": "history",
}


class Figures:
    """bench.json by name."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.machine: dict[str, Any] = document["machine"]
        self.known: dict[str, dict[str, Any]] = {each["name"]: each for each in document["figures"]}

    def __getitem__(self, name: str) -> float:
        return float(self.known[name]["median"])

    def __contains__(self, name: str) -> bool:
        return name in self.known

    def told(self, name: str) -> str:
        """The median, and the spread of several runs."""
        each = self.known.get(name)
        if each is None:
            return "–"
        text = number(each["median"])
        return text if each["runs"] == 1 else f"{text} ({number(each['min'])} – {number(each['max'])})"

    def under(self, prefix: str) -> dict[str, float]:
        """Medians of all figures whose names begin so, by the rest of their names."""
        return {
            name.removeprefix(prefix): float(each["median"])
            for name, each in self.known.items()
            if name.startswith(prefix)
        }

    def workloads(self) -> list[str]:
        """Lines whose backlogs were drained: wide32, one, …"""
        return self.found(r"(\w+)\.drain\.landed")

    def found(self, pattern: str) -> list[str]:
        """What the group of a pattern stands for in the names it fits, each once, in their order."""
        fits = (re.fullmatch(pattern, name) for name in self.known)
        return list(dict.fromkeys(fit[1] for fit in fits if fit))


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; nothing without rows."""
    if not rows:
        return "Not measured yet.\n"
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
