"""How the line stands: processes from the supervisor, counts from the ledger, freshness from metrics."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from connectors import control
from datarail.cli.folder import down, is_down
from datarail.contract import Contract
from datarail.contract_file import sound_stations
from datarail.errors import RailError
from datarail.settings import Settings
from deploy import line
from deploy.part_log import last_words
from sinks.ledger.query import Totals, totals

#: Freshness is commit → the last of these that has the change: only then is it queryable everywhere.
LANDING = ("themes", "indicators", "history")
_PATIENCE = 2.0  # seconds a part may take to answer with its metrics


@dataclass
class Standing:
    """A snapshot of the line. `notes` tell in words what could not be read."""

    parts: list[line.Part]
    resources: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        return {
            "parts": [
                {"name": part.name, "state": part.state.lower(), "pid": part.pid, "rss_mb": part.rss_mb}
                for part in self.parts
            ],
            "resources": self.resources,
            "notes": self.notes,
        }


def standing(settings: Settings) -> Standing:
    """Read everything; a part or store that is away becomes a note, not an error."""
    found = Standing(line.parts(settings))
    stations = sound_stations(settings.stations, lambda fault: found.notes.append(f"left out: {fault}"))
    counts: dict[tuple[str, str], Totals] = {}
    paused: set[str] = set()
    if is_down(settings, found.parts):
        found.notes.append(str(down(settings)))
    else:
        try:
            counts = {(each.station, each.resource): each for each in totals(settings)}
        except RailError as error:
            found.notes.append(str(error))
        try:
            paused = control.paused(settings)
        except RailError as error:
            found.notes.append(str(error))
    freshness = _freshness(settings, found)
    for part in found.parts:
        if part.state not in ("RUNNING", "STOPPED") and (why := last_words(settings, part.name)):
            found.notes.append(f"{part.name} is {part.state.lower()}: {why}")
    running = {part.name for part in found.parts if part.state == "RUNNING"}
    for station, contract in stations.items():
        connector = f"connector-{station}"
        states = resource_states(settings, station) if connector in running else {}
        for resource in contract.resources:
            row = _row(
                *(station, resource, connector in running, station in paused),
                *(counts.get((station, resource)), freshness),
            )
            if states.get(resource) == "broken":
                row["state"] = "broken"
                why = last_words(settings, connector, f" {resource}: ")
                found.notes.append(f"{station}, {resource} is broken: {why or 'its log tells why'}")
            found.resources.append(row)
    found.resources += _no_longer_attached(stations, counts, freshness)
    return found


def wait_flowing(
    settings: Settings, stations: Sequence[str], say: Callable[[str], None], seconds: float = 180.0
) -> bool:
    """Wait until changes of every station have landed, or it is paused.

    What cannot be read twice in a row, some seconds apart, is why it takes so long, and is told.
    """
    waiting = set(stations)
    deadline = time.monotonic() + seconds
    told = 0.0
    before: list[str] = []
    while waiting and time.monotonic() < deadline:
        found = standing(settings)
        for station in sorted(waiting):
            rows = [row for row in found.resources if row["station"] == station]
            landed = sum(row["landed"] + row["quarantined"] for row in rows)
            if landed or all(row["state"] == "paused" for row in rows):
                waiting.discard(station)
                say(f"{station}: {landed:,} changes landed")
        if waiting and time.monotonic() - told > 5:
            told = time.monotonic()
            say(f"waiting for the first changes of {', '.join(sorted(waiting))} …")
            for note in found.notes:
                if note in before:
                    say(f"  {note}")
            before = found.notes
        if waiting:
            time.sleep(0.5)
    return not waiting


def _row(
    station: str,
    resource: str,
    alive: bool,
    paused: bool,
    counted: Totals | None,
    freshness: Mapping[tuple[str, str], dict[str, float | None]],
) -> dict[str, Any]:
    counted = counted or Totals(station, resource, 0, 0, 0, 0, 0, "")
    fresh = freshness.get((station, resource), {})
    state = "paused" if paused else "down" if not alive else "flowing" if fresh.get("rate") else "quiet"
    if alive and not paused and counted.lag_rows and not fresh.get("rate"):
        state = "late"
    return {
        "station": station,
        "resource": resource,
        "state": state,
        "captured": counted.captured,
        "landed": counted.landed,
        "quarantined": counted.quarantined,
        "filtered": counted.filtered,
        "rate": fresh.get("rate") or 0.0,
        "lag_rows": counted.lag_rows,
        "freshness_ms": {"p50": fresh.get("p50"), "p99": fresh.get("p99")},
    }


def _no_longer_attached(
    stations: Mapping[str, Contract],
    counts: Mapping[tuple[str, str], Totals],
    freshness: Mapping[tuple[str, str], dict[str, float | None]],
) -> Iterable[dict[str, Any]]:
    for (station, resource), counted in sorted(counts.items()):
        if station not in stations or resource not in stations[station].resources:
            yield _row(station, resource, False, False, counted, freshness) | {"state": "detached"}


def resource_states(settings: Settings, station: str) -> dict[str, str]:
    """The state a station's connector says each resource is in; empty when it does not answer."""
    text = _metrics_of(settings, f"connector-{station}")
    if text is None:
        return {}
    return {
        sample.labels["resource"]: sample.labels["state"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "datarail_resource_state" and sample.value == 1
    }


def _freshness(settings: Settings, found: Standing) -> dict[tuple[str, str], dict[str, float | None]]:
    """By (station, resource): rate of the line, and the worst quantiles among the landing sinks."""
    running = {part.name for part in found.parts if part.state == "RUNNING"}
    fresh: dict[tuple[str, str], dict[str, float | None]] = {}
    for sink in LANDING:
        part = f"sink-{sink}"
        if part not in running:
            continue
        text = _metrics_of(settings, part)
        if text is None:
            found.notes.append(f"{part} does not answer with its metrics")
            continue
        for key, name, value in _readings(text):
            known = fresh.setdefault(key, {})
            known[name] = max(value, known.get(name) or 0.0)
    return fresh


def _metrics_of(settings: Settings, part: str) -> str | None:
    ports_file = settings.home / "metrics_ports.json"
    ports: dict[str, int] = json.loads(ports_file.read_text()) if ports_file.exists() else {}
    if part not in ports:
        return None
    try:
        with urlopen(f"http://127.0.0.1:{ports[part]}/metrics", timeout=_PATIENCE) as answer:
            text: str = answer.read().decode()
    except (URLError, OSError):
        return None
    return text


def _readings(text: str) -> Iterable[tuple[tuple[str, str], str, float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "datarail_freshness_recent_milliseconds" and sample.value == sample.value:
                yield (labels["station"], labels["resource"]), labels["quantile"], sample.value
            elif sample.name == "datarail_rate_rows_per_second":
                yield (labels["station"], labels["resource"]), "rate", sample.value
