"""`python -m bench.document`: figures and charts of docs/benchmark.md from what the benchmarks wrote.

The text is written by hand; what stands between <!-- figures NAME --> and <!-- end --> is replaced.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import orjson

from bench import svg
from bench.rail import REPOSITORY

BUILD = REPOSITORY / "build"
DOCUMENT = REPOSITORY / "docs" / "benchmark.md"
CHARTS = REPOSITORY / "docs" / "benchmark"
_HOPS = {
    "raw": "raw train",
    "clean": "subscriber",
    "indicator": "indicator",
    "golden": "golden record",
    "history": "history",
}
_BLOCK = re.compile(r"(<!-- figures (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


class Figures:
    """bench.json by name."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.machine: dict[str, Any] = document["machine"]
        self.known: dict[str, dict[str, Any]] = {each["name"]: each for each in document["figures"]}

    def __getitem__(self, name: str) -> float:
        return float(self.known[name]["median"])

    def told(self, name: str) -> str:
        """The median, and the spread of several runs."""
        each = self.known.get(name)
        if each is None:
            return "–"
        text = _number(each["median"])
        return text if each["runs"] == 1 else f"{text} ({_number(each['min'])} – {_number(each['max'])})"

    def under(self, prefix: str) -> dict[str, float]:
        """Medians of all figures whose names begin so, by the rest of their names."""
        return {
            name.removeprefix(prefix): float(each["median"])
            for name, each in self.known.items()
            if name.startswith(prefix)
        }

    def workloads(self) -> list[str]:
        """wide32, one, …"""
        return list(dict.fromkeys(name.partition(".")[0] for name in self.known))


def blocks(figures: Figures, peers: Figures | None) -> dict[str, str]:
    """The tables, by the names of their places."""
    machine = figures.machine
    made = {
        "machine": f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB; "
        f"{machine['system']}; Python {machine['python']}.\n",
        "throughput": _table(
            ["rows/s", *figures.workloads()],
            [
                [title, *(figures.told(f"{name}.{word}") for name in figures.workloads())]
                for title, word in (
                    ("backlog, committed → landed everywhere", "drain.landed"),
                    ("… → raw trains", "drain.captured"),
                    ("… → clean topics", "drain.clean"),
                    ("… → history", "drain.history"),
                    ("… → indicators", "drain.indicators"),
                    ("… → themes", "drain.themes"),
                    ("first load → raw trains", "snapshot.captured"),
                    ("first load → landed everywhere", "snapshot.landed"),
                )
            ],
        ),
        "latency": _latency(figures),
        "cost": _cost(figures),
    }
    if peers is not None:
        made["peers"] = _peers(peers)
    return made


def charts(figures: Figures, details: dict[str, Any], peers: Figures | None) -> dict[str, str]:
    """SVG texts by file name."""
    drawn = {
        "cost.svg": svg.stacked(
            "CPU time a row, by process",
            "µs",
            {
                f"{name} {word}": figures.under(f"{name}.{word}.cpu.")
                for name in figures.workloads()
                for word in ("snapshot", "drain")
            },
        )
    }
    edges = details["edges_ms"]
    for name, hops in details["histograms"].items():
        curves = {}
        for hop, counts in hops.items():
            total, running, curve = sum(counts) or 1, 0, []
            for edge, count in zip(edges[1:], counts, strict=True):
                running += count
                if count:
                    curve.append((edge, running / total))
            curves[_HOPS[hop]] = curve
        drawn[f"{name}.svg"] = svg.lines(f"{name}: share of changes seen within", "ms", curves)
    if peers is not None:
        for word in ("snapshot", "stream"):
            values = {
                name.removesuffix(f".{word}.captured"): float(each["median"])
                for name, each in peers.known.items()
                if name.endswith(f".{word}.captured")
            }
            drawn[f"peers-{word}.svg"] = svg.bars(f"Capture alone, {word}", "rows/s", values)
    return drawn


def filled(text: str, made: dict[str, str]) -> str:
    """The document with its tables replaced; places whose figures are not there stay as they are."""
    keep: Callable[[re.Match[str]], str] = lambda found: (  # noqa: E731
        f"{found[1]}{made[found[2]]}{found[3]}" if found[2] in made else found[0]
    )
    return _BLOCK.sub(keep, text)


def main() -> int:
    """Read build/, write docs/."""
    figures = Figures(orjson.loads((BUILD / "bench.json").read_bytes()))
    details = orjson.loads((BUILD / "bench-details.json").read_bytes())
    file = BUILD / "bench-peers.json"
    peers = Figures(orjson.loads(file.read_bytes())) if file.exists() else None
    CHARTS.mkdir(exist_ok=True)
    for name, chart in charts(figures, details, peers).items():
        (CHARTS / name).write_text(chart, encoding="utf-8")
    DOCUMENT.write_text(
        filled(DOCUMENT.read_text(encoding="utf-8"), blocks(figures, peers)), encoding="utf-8"
    )
    return 0


def _latency(figures: Figures) -> str:
    rows = []
    for name in figures.known:
        found = re.fullmatch(r"(\w+)\.latency\.(\d+)\.(\w+)\.p50", name)
        if found:
            base = name.removesuffix(".p50")
            words = [figures.told(f"{base}.{word}") for word in ("p50", "p95", "p99", "max")]
            rows.append([f"{found[1]}, {int(found[2]):,} rows/s → {_HOPS[found[3]]}", *words])
    return _table(["milliseconds from commit", "p50", "p95", "p99", "max"], rows)


def _cost(figures: Figures) -> str:
    names = figures.workloads()
    parts = dict.fromkeys(part for name in names for part in figures.under(f"{name}.drain.cpu."))
    rows = [
        [
            part,
            *(figures.told(f"{name}.drain.cpu.{part}") for name in names),
            *(figures.told(f"{name}.drain.rss.{part}") for name in names),
        ]
        for part in parts
    ]
    rows.append(["all", *(figures.told(f"{name}.drain.cpu") for name in names), *("" for _ in names)])
    rows += [
        [
            f"bytes a row, {kind} topics",
            *(figures.told(f"{name}.drain.bytes.{kind}") for name in names),
            *("" for _ in names),
        ]
        for kind in ("raw", "train", "clean")
    ]
    heads = [f"{name}, CPU s per million rows" for name in names] + [f"{name}, MB" for name in names]
    return _table(["draining", *heads], rows)


def _peers(peers: Figures) -> str:
    who = [name.removesuffix(".stream.captured") for name in peers.known if name.endswith(".stream.captured")]
    rows = [
        [
            each,
            *(peers.told(f"{each}.{word}") for word in ("snapshot.captured", "stream.captured")),
            *(peers.told(f"{each}.latency.1000.raw.{word}") for word in ("p50", "p99")),
        ]
        for each in who
    ]
    heads = [
        "capture alone, one table",
        "snapshot rows/s",
        "stream rows/s",
        "p50 ms at 1,000 rows/s",
        "p99 ms",
    ]
    whole = (
        f"\nThe plainly built line, whole: {peers.told('plain.landed')} rows/s.\n"
        if "plain.landed" in peers.known
        else ""
    )
    return _table(heads, rows) + whole


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
