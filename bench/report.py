"""Figures with their spread, and the machine they were read on: build/bench.json."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psutil


@dataclass
class Report:
    """Readings by figure name; each figure is told as median, min, max and number of runs."""

    readings: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, name: str, unit: str, *values: float) -> None:
        self.readings.setdefault((name, unit), []).extend(values)

    def document(self) -> dict[str, Any]:
        return {
            "machine": machine(),
            "figures": [
                {
                    "name": name,
                    "unit": unit,
                    "median": _rounded(statistics.median(values)),
                    "min": _rounded(min(values)),
                    "max": _rounded(max(values)),
                    "runs": len(values),
                }
                for (name, unit), values in self.readings.items()
            ],
        }

    def summary(self) -> str:
        """The figures as a table for people."""
        figures = self.document()["figures"]
        width = max(len(each["name"]) for each in figures)
        return "\n".join(
            f"{each['name']:{width}}  {each['median']:>12,} {each['unit']}"
            + (f"  ({each['min']:,} to {each['max']:,}, {each['runs']} runs)" if each["runs"] > 1 else "")
            for each in figures
        )

    def write(self, file: Path, *, into: bool = False) -> None:
        """into: what the file has of other names stays, if it was read on the same machine."""
        document = self.document()
        if into and file.exists():
            known = orjson.loads(file.read_bytes())
            if known["machine"] == document["machine"]:
                own = {each["name"] for each in document["figures"]}
                others = [each for each in known["figures"] if each["name"] not in own]
                document["figures"] = others + document["figures"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


def machine() -> dict[str, Any]:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def syncs(folder: Path, times: int = 50) -> list[float]:
    """Milliseconds the disk takes to keep 8 KB for good: what a commit and a Redis answer wait for."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "sync"
    taken = []
    with file.open("wb", buffering=0) as stream:
        for _ in range(times):
            stream.write(bytes(8192))
            began = time.perf_counter()
            os.fsync(stream.fileno())
            taken.append(1000 * (time.perf_counter() - began))
    file.unlink()
    return taken


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, int(share * len(ordered) + 0.999999) - 1))]


def _rounded(value: float) -> float:
    return round(value, 3 if abs(value) < 100 else 1)
