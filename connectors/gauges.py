"""What connectors show besides the line's common metrics."""

from __future__ import annotations

from prometheus_client import Gauge

SOURCE_LAG = Gauge(
    "datarail_source_lag_bytes", "Log the source keeps for us: what we have not acknowledged", ["station"]
)
STATE = Gauge("datarail_resource_state", "1 for the state a resource is in", ["station", "resource", "state"])

STATES = ("waiting", "snapshot", "streaming", "paused", "broken")


def state(station: str, resource: str, now: str) -> None:
    """Show a resource as being in one of STATES."""
    for name in STATES:
        STATE.labels(station, resource, name).set(1 if name == now else 0)
