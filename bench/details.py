"""What plots need beyond the figures: histograms of latency, the course of each drain and outage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bench.draining import Drain
from bench.latency import Latency

#: Edges of the latency histograms, milliseconds: 20 a decade.
EDGES = np.round(10 ** np.arange(-0.5, 4.01, 0.05), 4)


@dataclass
class Details:
    """Goes to a file beside bench.json."""

    histograms: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    drains: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    courses: dict[str, list[list[float]]] = field(default_factory=dict)

    def latency(self, name: str, run: Latency) -> None:
        """Add a run's ages to the histograms of its name, by hop."""
        hops = self.histograms.setdefault(name, {})
        for hop, ages in run.ages.items():
            counts = np.histogram(np.clip(ages, EDGES[0], EDGES[-1]), EDGES)[0]
            known = np.array(hops.get(hop, [0] * len(counts)))
            hops[hop] = (known + counts).tolist()

    def drain(self, name: str, run: Drain) -> None:
        """Note when how many records were in the clean topics: the course of a drain."""
        first = run.samples[0].clean
        course = [[round(sample.at - run.began, 2), sample.clean - first] for sample in run.samples]
        self.drains.setdefault(name, []).append(
            {"rows": run.rows, "seconds": run.seconds, "cpu": run.cpu, "clean": course}
        )

    def course(self, name: str, course: list[tuple[float, int]]) -> None:
        """Note how many rows were behind at which second."""
        self.courses[name] = [list(each) for each in course]

    def document(self) -> dict[str, Any]:
        return {
            "edges_ms": EDGES.tolist(),
            "histograms": self.histograms,
            "drains": self.drains,
            "courses": self.courses,
        }

    def write(self, file: Path, *, into: bool = False) -> None:
        """into: what the file has of other names stays."""
        document = self.document()
        if into and file.exists():
            known = orjson.loads(file.read_bytes())
            for kind in ("histograms", "drains", "courses"):
                document[kind] = known.get(kind, {}) | document[kind]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(orjson.dumps(document))
