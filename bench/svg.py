"""Small charts as SVG text, for docs/benchmark.md: bars, stacked bars, lines over a log axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import log10

#: Told apart by people who see colours differently (Okabe and Ito), and in print by lightness.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999", "#000000")
_WIDTH, _LEFT, _ROW = 720, 170, 26


def bars(title: str, unit: str, values: Mapping[str, float]) -> str:
    """One bar a name, its value beside it."""
    return stacked(title, unit, {name: {"": value} for name, value in values.items()})


def stacked(title: str, unit: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """One bar a row, made of named parts; the sum beside it, a legend below."""
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    most = max((sum(row.values()) for row in rows.values()), default=1.0) or 1.0
    scale = (_WIDTH - _LEFT - 110) / most
    body = [_text(8, 18, f"{title} ({unit})", bold=True)]
    for number, (name, row) in enumerate(rows.items()):
        y, x = 34 + number * _ROW, float(_LEFT)
        body.append(_text(_LEFT - 8, y + 14, name, anchor="end"))
        for part, value in row.items():
            colour = COLOURS[parts.index(part) % len(COLOURS)]
            width = value * scale
            body.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="18" fill="{colour}"/>')
            x += width
        body.append(
            _text(x + 6, y + 14, f"{sum(row.values()):,.4g}" if most < 100 else f"{sum(row.values()):,.0f}")
        )
    height = 40 + len(rows) * _ROW
    if any(parts):
        height = _legend(body, parts, height)
    return _page(body, height)


def lines(title: str, unit: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Shares (0 … 1, upwards) over a logarithmic axis of `unit`."""
    known = [x for curve in curves.values() for x, _ in curve if x > 0]
    low, high = log10(min(known, default=1.0)), log10(max(known, default=10.0))
    span = max(high - low, 0.1)
    bottom, top = 250, 40

    def place(x: float, y: float) -> str:
        across = 50 + (log10(max(x, 10**low)) - low) / span * (_WIDTH - 80)
        return f"{across:.1f},{bottom - y * (bottom - top):.1f}"

    body = [_text(8, 18, f"{title} ({unit})", bold=True)]
    for share in (0.0, 0.5, 0.9, 0.99, 1.0):
        y = bottom - share * (bottom - top)
        body.append(f'<line x1="50" y1="{y:.1f}" x2="{_WIDTH - 30}" y2="{y:.1f}" stroke="#ddd"/>')
        if share != 0.99:
            body.append(_text(44, y + 4, f"{share:.0%}", anchor="end"))
    ticks = [step * 10.0**power for power in range(-3, 7) for step in (1, 2, 5)]
    for tick in (tick for tick in ticks if low <= log10(tick) <= high):
        across = float(place(tick, 0).split(",")[0])
        body.append(_text(across, bottom + 16, f"{tick:g}", anchor="middle"))
    for number, curve in enumerate(curves.values()):
        points = " ".join(place(x, y) for x, y in curve)
        colour = COLOURS[number % len(COLOURS)]
        body.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return _page(body, _legend(body, list(curves), bottom + 28))


def _legend(body: list[str], names: Sequence[str], y: int) -> int:
    x = 12
    for number, name in enumerate(names):
        width = 34 + 8 * len(name)
        if x + width > _WIDTH:
            x, y = 12, y + 20
        body.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{COLOURS[number % len(COLOURS)]}"/>')
        body.append(_text(x + 17, y + 11, name))
        x += width
    return y + 24


def _text(x: float, y: float, words: str, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'


def _page(body: Sequence[str], height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n"
    )
