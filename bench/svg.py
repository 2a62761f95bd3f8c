"""Small charts as SVG text, for docs/benchmark.md: bars, histograms, courses; light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, log10

#: Told apart by people who see colours differently (after Okabe and Ito), on white and on black.
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B3A400", "#8C8C8C"),
    *("#8B62D0", "#A65E2E", "#2F9E9E", "#E377A2"),
)
_WIDTH, _LEFT, _RIGHT, _ROW = 720, 190, 90, 26
_STYLE = (
    "text{fill:#1f2328}.page{fill:#fff}.grid{stroke:#d8dee4}"
    "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.grid{stroke:#30363d}}"
)


@dataclass(frozen=True)
class Chart:
    """SVG elements and the height they take; text is the whole file."""

    body: tuple[str, ...]
    height: float

    @property
    def text(self) -> str:
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {self.height:.0f}" '
            f'width="{_WIDTH}" height="{self.height:.0f}" font-family="sans-serif" font-size="13">\n'
            f'<style>{_STYLE}</style>\n<rect class="page" width="100%" height="100%"/>\n'
            + "\n".join(self.body)
            + "\n</svg>\n"
        )


def above(*charts: Chart) -> Chart:
    """Charts one below the other."""
    body, height = [], 0.0
    for chart in charts:
        body += [f'<g transform="translate(0,{height:.0f})">', *chart.body, "</g>"]
        height += chart.height
    return Chart(tuple(body), height)


def bars(title: str, unit: str, values: Mapping[str, float]) -> Chart:
    """One bar a name, its value beside it."""
    return stacked(title, unit, {name: {"": value} for name, value in values.items()})


def stacked(title: str, unit: str, rows: Mapping[str, Mapping[str, float]], *, legend: bool = True) -> Chart:
    """One bar a row, made of named parts; the sum beside it, a legend below."""
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    most = max((sum(row.values()) for row in rows.values()), default=1.0) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    body = [_text(8, 20, f"{title} ({unit})", bold=True)]
    for number, (name, row) in enumerate(rows.items()):
        y, x = 36 + number * _ROW, float(_LEFT)
        body.append(_text(_LEFT - 8, y + 14, name, anchor="end"))
        for part, value in row.items():
            colour = _colour(parts.index(part))
            width = max(value, 0) * scale
            body.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="18" fill="{colour}"/>')
            x += width
        body.append(_text(x + 6, y + 14, _short(sum(row.values()))))
    height = 44 + len(rows) * _ROW
    if legend and any(parts):
        height = _legend(body, parts, height)
    return Chart(tuple(body), height)


def histograms(title: str, unit: str, edges: Sequence[float], counts: Mapping[str, Sequence[int]]) -> Chart:
    """One histogram a name, below each other over one logarithmic axis; edges: one more than counts.
    A tick below each marks its median."""
    used = [n for each in counts.values() for n, count in enumerate(each) if count]
    first, last = max(min(used, default=0) - 1, 0), min(max(used, default=1) + 2, len(edges) - 1)
    low, span = log10(edges[first]), log10(edges[last]) - log10(edges[first])
    tall, left, right = 54, 120, 20

    def across(value: float) -> float:
        return left + (log10(value) - low) / span * (_WIDTH - left - right)

    body = [_text(8, 20, f"{title} ({unit})", bold=True)]
    bottom = 36 + len(counts) * (tall + 12)
    ticks = [step * 10.0**power for power in range(-2, 6) for step in (1, 2, 5)]
    for tick in (tick for tick in ticks if edges[first] <= tick <= edges[last]):
        x = across(tick)
        body.append(f'<line class="grid" x1="{x:.1f}" y1="32" x2="{x:.1f}" y2="{bottom}"/>')
        body.append(_text(x, bottom + 16, f"{tick:g}", anchor="middle"))
    for number, (name, each) in enumerate(counts.items()):
        base = 36 + number * (tall + 12) + tall
        most, total, running, middle = max(each, default=0) or 1, sum(each), 0, 0.0
        body.append(_text(left - 8, base - 4, name, anchor="end"))
        for n in range(first, last):
            x, wide = across(edges[n]), across(edges[n + 1]) - across(edges[n])
            high = each[n] / most * tall
            if each[n]:
                body.append(
                    f'<rect x="{x:.1f}" y="{base - high:.1f}" width="{wide + 0.2:.1f}" '
                    f'height="{high:.1f}" fill="{_colour(number)}"/>'
                )
            if running < total / 2 <= running + each[n]:
                middle = x + wide / 2
            running += each[n]
        body.append(f'<line class="grid" x1="{left}" y1="{base}" x2="{_WIDTH - right}" y2="{base}"/>')
        if total:
            body.append(f'<path d="M{middle:.1f} {base}l-4 8h8z" fill="{_colour(number)}"/>')
    return Chart(tuple(body), bottom + 28)


def course(title: str, unit: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> Chart:
    """Values of `unit`, upwards from nought, over seconds."""
    most_x = max((x for curve in curves.values() for x, _ in curve), default=1.0) or 1.0
    most_y = max((y for curve in curves.values() for _, y in curve), default=1.0) or 1.0
    left, bottom, top = 80, 230, 40
    body = [_text(8, 20, f"{title} ({unit} over seconds)", bold=True)]
    for tick in _ticks(most_y):
        y = bottom - tick / most_y * (bottom - top)
        body.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{_WIDTH - 20}" y2="{y:.1f}"/>')
        body.append(_text(left - 8, y + 4, _short(tick), anchor="end"))
    for tick in _ticks(most_x):
        x = left + tick / most_x * (_WIDTH - left - 20)
        body.append(_text(x, bottom + 18, f"{tick:g}", anchor="middle"))
    for number, curve in enumerate(curves.values()):
        points = " ".join(
            f"{left + x / most_x * (_WIDTH - left - 20):.1f},{bottom - y / most_y * (bottom - top):.1f}"
            for x, y in curve
        )
        body.append(f'<polyline points="{points}" fill="none" stroke="{_colour(number)}" stroke-width="2"/>')
    height = _legend(body, list(curves), bottom + 32)
    return Chart(tuple(body), height)


def _ticks(most: float) -> list[float]:
    """Three to seven round numbers from nought up to the most."""
    step = 10.0 ** ceil(log10(most / 5)) if most > 0 else 1.0
    step = next(each for each in (step / 5, step / 2, step) if most / each <= 6)
    return [step * n for n in range(int(most / step) + 1)]


def _legend(body: list[str], names: Sequence[str], y: int) -> int:
    x = 12
    for number, name in enumerate(names):
        width = 34 + 8 * len(name)
        if x + width > _WIDTH:
            x, y = 12, y + 20
        body.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{_colour(number)}"/>')
        body.append(_text(x + 17, y + 11, name))
        x += width
    return y + 24


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _text(x: float, y: float, words: str, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'
