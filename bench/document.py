"""`python -m bench.document`: figures and charts of docs/benchmark.md from what the benchmarks wrote.

The text is written by hand; what stands between <!-- figures NAME --> and <!-- end --> is replaced.
Charts go beside it, and only those that were measured are shown: the places for them are filled in too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import orjson

from bench.charts import charts
from bench.figures import Figures
from bench.rail import REPOSITORY
from bench.tables import blocks

BUILD = REPOSITORY / "build"
DOCUMENT = REPOSITORY / "docs" / "benchmark.md"
CHARTS = REPOSITORY / "docs" / "benchmark"
_BLOCK = re.compile(r"(<!-- figures ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
#: Which charts stand at which place: the beginnings of their names, and what is said of them.
_PLOTS = {
    "plots-cost": ("cost", "CPU time a row, by process"),
    "plots-latency": (r"\w+\.latency", "Latency from commit"),
    "plots-outage": ("outage", "Rows behind after an outage"),
    "plots-backpressure": ("backpressure", "Rows behind under twice what can land"),
    "plots-growth": ("growth", "How cost grows"),
    "plots-peers": ("peers", "Capture alone, beside others"),
}


def filled(text: str, made: dict[str, str]) -> str:
    """The document with its tables replaced; places whose figures are not there stay as they are."""
    keep: Callable[[re.Match[str]], str] = lambda found: (  # noqa: E731
        f"{found[1]}{made[found[2]]}{found[3]}" if found[2] in made else found[0]
    )
    return _BLOCK.sub(keep, text)


def plots(names: list[str]) -> dict[str, str]:
    """By place, the lines that show its charts."""
    made = {}
    for place, (pattern, said) in _PLOTS.items():
        shown = [name for name in names if re.match(pattern, name)]
        made[place] = "".join(f"![{said}: {name}](benchmark/{name})\n\n" for name in shown)
    return made


def main() -> int:
    """Read build/, write docs/."""
    figures = Figures(orjson.loads((BUILD / "bench.json").read_bytes()))
    details = orjson.loads((BUILD / "bench-details.json").read_bytes())
    file = BUILD / "bench-peers.json"
    peers = Figures(orjson.loads(file.read_bytes())) if file.exists() else None
    CHARTS.mkdir(exist_ok=True)
    drawn = charts(figures, details, peers)
    for name, chart in drawn.items():
        (CHARTS / name).write_text(chart, encoding="utf-8")
    text = filled(DOCUMENT.read_text(encoding="utf-8"), blocks(figures, peers) | plots(sorted(drawn)))
    DOCUMENT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
