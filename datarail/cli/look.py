"""Looking at what landed: subscribe, lookup, indicators, history, quarantine."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from datarail.cli.folder import running
from datarail.cli.screen import JsonFlag, draw, out, say, show
from datarail.errors import Terminal
from datarail.settings import Settings

if TYPE_CHECKING:
    from datarail.contract import Contract


def subscribe(
    topic: Annotated[str, typer.Argument(help="clean.<department>.<resource>")],
    group: Annotated[str | None, typer.Option(help="Keep the progress under this name.")] = None,
    latest: Annotated[bool, typer.Option(help="Only what comes from now on.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many changes.")] = None,
    idle: Annotated[float | None, typer.Option(help="Stop after so many seconds without a change.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print a clean topic's changes as they come, each once (--json: one JSON document a line)."""
    from datarail.subscriber import Subscription

    subscription = Subscription(running(), topic, group=group, beginning=not latest, idle_seconds=idle)
    for count, delivery in enumerate(subscription, start=1):
        if as_json:
            typer.echo(orjson.dumps({"key": delivery.key, "value": delivery.value}).decode())
        else:
            after = json.dumps(delivery.value["after"], ensure_ascii=False)
            out.print(f"{delivery.value['op']} {delivery.key} {after}", markup=False, soft_wrap=True)
        if count == limit:
            break
    subscription.close()


def lookup(
    theme: Annotated[
        str, typer.Argument(help="population, legal_entity, credit, licence, governance, spatial")
    ],
    key: Annotated[str, typer.Argument(help="The golden record's key, such as a citizen id.")],
    as_json: JsonFlag = False,
) -> None:
    """One golden record: each field with its source and time."""
    import redis

    from datarail.themes import read_themes
    from sinks.themes import lookup as themes_lookup

    settings = running()
    themes = read_themes(settings.folder)
    if theme not in themes:
        raise Terminal(f"there is no theme store {theme}", remedy=f"one of {', '.join(themes)}")
    with redis.Redis.from_url(settings.redis) as client:
        record = themes_lookup.lookup(client, theme, key, themes)
    if record is None:
        raise Terminal(f"{themes[theme].title} has no record {key}")

    def render() -> None:
        draw(
            ["field", "title", "value", "source", "committed", "newer held since"],
            [
                (
                    name,
                    field["title"],
                    field["value"],
                    _place(field["source"]),
                    field["time"],
                    field["held"] or "",
                )
                for name, field in record["fields"].items()
            ],
            title=f"{themes[theme].title} {key}",
        )

    show(record, as_json, render)


def indicators(
    name: Annotated[str | None, typer.Argument(help="One indicator; all when left out.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Real-time indicators as they stand."""
    import redis

    from datarail.indicators import read_indicators
    from sinks.indicators import query as indicators_query

    settings = running()
    contracts = _stations(settings)
    defined = read_indicators(settings.folder, contracts)
    if name is not None and name not in defined:
        raise Terminal(f"there is no indicator {name}", remedy=f"one of {', '.join(defined)}")
    wanted = {each: definition for each, definition in defined.items() if name in (None, each)}
    with redis.Redis.from_url(settings.redis) as client:
        readings = indicators_query.read(client, wanted, contracts)
    document: dict[str, Any] = {
        each: {
            "title": reading.title,
            "by": list(reading.dimensions),
            "values": [
                {"dimensions": list(place), "value": value} for place, value in reading.values.items()
            ],
        }
        for each, reading in readings.items()
    }

    def render() -> None:
        for each, found in document.items():
            rows = [(*row["dimensions"], row["value"]) for row in found["values"]]
            draw([*found["by"], "value"], rows, title=f"{each} {found['title']}")
            out.print()

    show(document, as_json, render)


def history(
    resource: Annotated[
        str, typer.Argument(help="station.resource, or the resource alone where it is unique.")
    ],
    key: Annotated[str, typer.Argument(help="The source key, as in the source.")],
    at: Annotated[datetime | None, typer.Option(help="The record as it stood then (UTC).")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Every change of one record, as written and as cleaned."""
    from sinks.history import query as history_query

    settings = running()
    station, name = resolve(settings, resource)
    if at is not None:
        found = history_query.as_of(settings, station, name, key, at)
        changes = [found] if found else []
    else:
        changes = history_query.versions(settings, station, name, key)

    def render() -> None:
        draw(
            ["commit", "op", "held", "written", "cleaned", "findings"],
            [
                (
                    change["commit"],
                    change["op"],
                    "held" if change["held"] else "",
                    json.dumps(change["written"], ensure_ascii=False, default=str),
                    json.dumps(change["cleaned"], ensure_ascii=False, default=str),
                    _reasons(json.loads(change["findings"] or "[]")),
                )
                for change in changes
            ],
            title=f"{station} {name} {key}",
        )

    show({"station": station, "resource": name, "key": key, "changes": changes}, as_json, render)
    if not changes:
        say("No change of this key has landed.")
        raise typer.Exit(1)


def quarantine(
    resource: Annotated[str | None, typer.Argument(help="station.resource, or the resource alone.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only what this rule held.")] = None,
    limit: Annotated[int, typer.Option(help="So many of the latest changes.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """What is held and why: counts by rule, and the latest held changes."""
    from sinks.quarantine import query as quarantine_query

    settings = running()
    station, name = resolve(settings, resource) if resource else ("", "")
    groups = quarantine_query.by_rule(settings, station, name)
    changes = quarantine_query.held(settings, station, name, rule=rule or "", limit=limit)

    def render() -> None:
        draw(
            ["station", "resource", "rule", "items", "changes", "keys", "last", "for example"],
            [
                (
                    *(group["station"], group["resource"], group["rule"], ", ".join(group["items"])),
                    *(group["changes"], group["keys"], group["last"], group["example"]),
                )
                for group in groups
            ],
        )
        out.print()
        draw(
            ["committed", "station", "resource", "key", "reasons"],
            [
                (
                    *(change["commit"], change["station"], change["resource"], change["key"]),
                    _reasons(change["findings"] or []) or change["error"],
                )
                for change in changes
            ],
        )

    show({"groups": groups, "changes": changes}, as_json, render)


def _reasons(findings: list[dict[str, str]]) -> str:
    return "; ".join(finding["message"] for finding in findings)


def _stations(settings: Settings) -> dict[str, Contract]:
    from datarail.contract_file import sound_stations

    return sound_stations(settings.stations, lambda fault: say(f"✗ left out: {fault}"))


def _place(source: dict[str, str]) -> str:
    return f"{source['station']} {source['resource']} {source['key']}"


def resolve(settings: Settings, resource: str) -> tuple[str, str]:
    """(station, resource) of a name given by a person; raises Terminal telling the choices."""
    stations = _stations(settings)
    known = {
        f"{station}.{name}": (station, name) for station, each in stations.items() for name in each.resources
    }
    if resource in known:
        return known[resource]
    found = [
        place
        for full, place in known.items()
        if place[1] == resource or full.replace(".", "/") == resource or f"{place[0]}/{place[1]}" == resource
    ]
    if len(found) == 1:
        return found[0]
    parts = resource.replace("/", ".").rsplit(".", 1)
    if len(parts) == 2 and parts[0].count(".") == 1 and not found:
        return parts[0], parts[1]  # of a station that was detached: its history stays
    remedy = f"one of {', '.join(sorted(known))}" if known else "no station is attached"
    raise Terminal(f"{resource} is {'not unique' if found else 'not known'}", remedy=remedy)


def add_to(app: typer.Typer) -> None:
    for command in (subscribe, lookup, indicators, history, quarantine):
        app.command()(command)
