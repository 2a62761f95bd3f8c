"""The plots of docs/benchmark.md, by file name."""

from __future__ import annotations

from typing import Any

from bench import svg
from bench.figures import HOPS, Figures
from bench.tables import GROWTH, called


def charts(figures: Figures, details: dict[str, Any], peers: Figures | None) -> dict[str, str]:
    """SVG texts; what was not measured is left out."""
    drawn = {"cost.svg": _cost(figures), **_latency(details), **_courses(details), **_growth(figures)}
    if workers := _workers(figures):
        drawn["growth-workers.svg"] = workers
    if peers is not None:
        drawn |= _peers(peers)
    return {name: chart.text for name, chart in drawn.items()}


def _cost(figures: Figures) -> svg.Chart:
    rows = {
        f"{name} {word}": figures.under(f"{name}.{word}.cpu.")
        for name in figures.workloads()
        for word in ("snapshot", "drain", "inserts", "updates", "deletes")
    }
    return svg.stacked("CPU time a row, by process", "µs", {name: row for name, row in rows.items() if row})


def _latency(details: dict[str, Any]) -> dict[str, svg.Chart]:
    drawn = {}
    for name, hops in details.get("histograms", {}).items():
        rate = int(name.rpartition(".")[2])
        known = {HOPS[hop]: hops[hop] for hop in HOPS if sum(hops.get(hop, ()))}
        title = f"Commit → seen at {rate:,} rows/s"
        drawn[f"{name}.svg"] = svg.histograms(title, "ms", details["edges_ms"], known)
    return drawn


def _courses(details: dict[str, Any]) -> dict[str, svg.Chart]:
    """One picture of all outages, one of the backpressure."""
    courses = details.get("courses", {})
    drawn = {}
    for file, word, title in (
        ("outage.svg", ".outage.", "Rows behind since a part was stopped"),
        ("backpressure.svg", ".backpressure", "Rows behind, as status tells it, under twice what can land"),
    ):
        known = {name.rpartition(".")[2]: each for name, each in courses.items() if word in name}
        if known:
            drawn[file] = svg.course(title, "rows", known)
    return drawn


def _growth(figures: Figures) -> dict[str, svg.Chart]:
    drawn = {}
    for word in GROWTH:
        values = figures.found(rf"growth\.{word}\.(\w+)\.drain\.landed")
        if values:
            rows = {called(word, value): f"growth.{word}.{value}.drain" for value in values}
            drawn[f"growth-{word}.svg"] = svg.above(
                svg.stacked(
                    "CPU time a row, draining",
                    "µs",
                    {title: figures.under(f"{name}.cpu.") for title, name in rows.items()},
                    legend=False,
                ),
                svg.stacked(
                    "Memory, the most of each process",
                    "MB",
                    {title: figures.under(f"{name}.rss.") for title, name in rows.items()},
                ),
            )
    return drawn


def _workers(figures: Figures) -> svg.Chart | None:
    values = {
        f"{sink}, {word}": figures[f"growth.workers.{sink}.{number}"]
        for sink in figures.found(r"growth\.workers\.(\w+)\.ratio")
        for number, word in ((1, "one process"), (2, "two"))
    }
    return (
        svg.bars("Landed by one process of a sink and by two, a core each", "rows/s", values)
        if values
        else None
    )


def _peers(peers: Figures) -> dict[str, svg.Chart]:
    return {
        f"peers-{word}.svg": svg.bars(
            f"Capture alone, {word}",
            "rows/s",
            {who: peers[f"{who}.{word}.captured"] for who in peers.found(rf"(.+)\.{word}\.captured")},
        )
        for word in ("snapshot", "stream")
    }
