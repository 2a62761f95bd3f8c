"""The line as a whole: up, down, status; and one station: pause, resume, detach."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datarail.cli.folder import running
from datarail.cli.screen import JsonFlag, draw, out, print_json, say, show
from datarail.errors import Terminal, Transient
from datarail.settings import Settings

if TYPE_CHECKING:
    from datarail.cli.standing import Standing

StationName = Annotated[str, typer.Argument(help="department.system, the name of its file in stations/.")]


def up(
    city: Annotated[bool, typer.Option(help="Also run the sample city, where the folder has it.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Start servers, sample departments and every station found; return when changes flow."""
    from connectors.postgres.session import without_password
    from datarail.cli.standing import wait_flowing
    from datarail.contract_file import sound_stations
    from deploy import line, sample_city

    settings = Settings.load()
    if settings.embedded:
        settings = line.up(settings, only_servers=True, progress=say)
        if not city:
            sample_city.leave(settings)
        elif sample_city.is_here(settings):
            sample_city.prepare(settings, say)
    stations = sound_stations(settings.stations, lambda fault: say(f"✗ left out: {fault}"))
    settings = line.up(settings, progress=say)
    flowing = wait_flowing(settings, list(stations), say)
    addresses = {
        "kafka": settings.kafka,
        "clickhouse_http": settings.clickhouse.url,
        "clickhouse_native": f"{settings.clickhouse.host}:{settings.clickhouse.tcp_port}",
        "redis": without_password(settings.redis),
        "stations": list(stations),
    }

    def render() -> None:
        draw(["what", "where"], [(name, value) for name, value in addresses.items() if name != "stations"])
        if not stations:
            out.print("No station yet: [bold]datarail attach postgresql://… --department D --system S[/]")
        else:
            word = "flow from" if flowing else "do not flow yet from"
            out.print(f"Changes {word} {', '.join(stations)}.")
            out.print("Next: [bold]datarail status[/], [bold]datarail audit[/]")

    show(addresses | {"flowing": flowing}, as_json, render)


def down() -> None:
    """Stop every process of the line."""
    from deploy import line

    line.down(Settings.load(), progress=say)
    say("The line is down.")


def status(as_json: JsonFlag = False) -> None:
    """Parts and resources: what was captured, landed, quarantined, how fresh it is."""
    from datarail.cli.standing import standing

    found = standing(Settings.load())
    show(found.document(), as_json, lambda: _draw_status(found))


def pause(station: StationName, as_json: JsonFlag = False) -> None:
    """Stop reading a station; its place in the source is kept."""
    from connectors import control
    from datarail.cli.standing import resource_states
    from datarail.contract_file import read_contract

    settings = running()
    read_contract(_file(settings, station))
    control.pause(settings, station)
    # The connector looks at its mark about once a second; longer while it comes back to Kafka.
    deadline = time.monotonic() + 60
    while (states := resource_states(settings, station)) and "paused" not in states.values():
        if time.monotonic() > deadline:
            raise Transient(f"{station} has not paused yet", remedy="it will as soon as it reaches Kafka")
        time.sleep(0.3)
    _done(as_json, station, "paused")


def resume(
    station: StationName,
    resnapshot: Annotated[
        bool,
        typer.Option(
            "--resnapshot",
            help="Do not go on: begin a new epoch and read every table again, as after a lost slot.",
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Go on reading a paused station where it stopped."""
    from connectors import control
    from datarail.contract_file import read_contract
    from deploy import line

    settings = running()
    read_contract(_file(settings, station))
    if resnapshot:
        control.resnapshot(settings, station)
    control.resume(settings, station)
    here = next((part for part in line.parts(settings) if part.name == f"connector-{station}"), None)
    if here is not None and (resnapshot or not here.pid):
        line.restart(settings, here.name)
    _done(as_json, station, "reading every table again" if resnapshot else "resumed")


def detach(
    station: StationName,
    keep_file: Annotated[bool, typer.Option(help="Keep stations/…yaml as it is.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Leave a source for good: its slot and publications are dropped, what landed stays."""
    from connectors import control
    from datarail.contract_file import read_contract
    from deploy import line

    settings = running()
    file = _file(settings, station)
    contract = read_contract(file)
    known = {part.name for part in line.parts(settings)}
    if f"connector-{station}" in known:
        line.stop_part(settings, f"connector-{station}")
    control.detach(settings, contract)
    if not keep_file:
        file.rename(file.with_suffix(".yaml.detached"))
        if known:
            line.reload(settings, progress=say)
    _done(as_json, station, "detached")


def _file(settings: Settings, station: str) -> Path:
    file = settings.stations / f"{station}.yaml"
    if not file.exists():
        known = ", ".join(sorted(each.stem for each in settings.stations.glob("*.yaml"))) or "none"
        raise Terminal(f"there is no station {station}", remedy=f"known stations: {known}")
    return file


def _done(as_json: bool, station: str, state: str) -> None:
    if as_json:
        print_json({"station": station, "state": state})
    else:
        say(f"{station} {state}")


def _draw_status(found: Standing) -> None:
    draw(
        ["part", "state", "pid", "MB"],
        [(part.name, part.state, part.pid or None, part.rss_mb) for part in found.parts],
    )
    out.print()
    draw(
        [
            "station",
            "resource",
            "state",
            "captured",
            "landed",
            "quarantined",
            "filtered",
            "rows/s",
            "lag",
            "p50 ms",
            "p99 ms",
        ],
        [
            (
                *(row["station"], row["resource"], row["state"]),
                *(row["captured"], row["landed"], row["quarantined"], row["filtered"]),
                *(row["rate"], row["lag_rows"], row["freshness_ms"]["p50"], row["freshness_ms"]["p99"]),
            )
            for row in found.resources
        ],
    )
    for note in found.notes:
        say(f"! {note}")


def add_to(app: typer.Typer) -> None:
    for command in (up, down, status, pause, resume, detach):
        app.command()(command)
