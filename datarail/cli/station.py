"""Attaching a source system, and checking contracts before anything runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from datarail.cli.screen import JsonFlag, draw, out, print_json, say, show
from datarail.errors import ContractError, Terminal
from datarail.settings import Settings

if TYPE_CHECKING:
    from datarail.contract import Contract


def attach(
    url: Annotated[str, typer.Argument(help="postgresql://user@host:port/database")],
    department: Annotated[str, typer.Option(help="The department's code: lower case, e.g. civil_affairs.")],
    system: Annotated[str, typer.Option(help="The system's code, e.g. marriage.")],
    password_env: Annotated[
        str | None, typer.Option(help="Environment variable that holds the password, instead of the URL.")
    ] = None,
    replace: Annotated[bool, typer.Option(help="Overwrite a contract that is already there.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Look at a source, say whether and how it can be attached, and draft its contract."""
    from connectors import registry
    from datarail.contract_file import read_contract

    settings = Settings.load()
    file = settings.stations / f"{department}.{system}.yaml"
    if file.exists() and not replace:
        raise Terminal(f"{file} is already there", remedy="edit it, or say --replace to draft it anew")
    password = os.environ.get(password_env, "") if password_env else unquote(urlsplit(url).password or "")
    kind = registry.kind_of(url)
    verdict = kind.probe(url, password)
    drafted: str | None = None
    if verdict.attachable:
        place = _keep_password(settings, f"{department}.{system}", password, password_env)
        drafted = kind.draft(url, password, department, system, place)
        settings.stations.mkdir(exist_ok=True)
        file.write_text(drafted, encoding="utf-8")
        read_contract(file)
    document: dict[str, Any] = verdict.document() | {"contract": str(file) if drafted else None}

    def render() -> None:
        for line in verdict.lines():
            out.print(line, markup=False)
        if drafted:
            say(f"Contract drafted: {file}. Read it, then: datarail check, datarail up")
        else:
            say("Not attached. The SQL above is for the source's DBA; then attach again.")

    show(document, as_json, render)
    if not drafted:
        raise typer.Exit(1)


def check(
    station: Annotated[str | None, typer.Argument(help="One station; all when left out.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell what is wrong with contracts and indicators, without starting anything."""
    from datarail.contract_file import read_contract, read_stations
    from datarail.indicators import read_indicators

    settings = Settings.load()
    files = [settings.stations / f"{station}.yaml"] if station else sorted(settings.stations.glob("*.yaml"))
    faults: list[str] = []
    good: dict[str, Contract] = {}
    for file in files:
        try:
            contract = read_contract(file)
        except ContractError as error:
            faults += error.message.splitlines() if error.message.startswith(str(file)) else [str(error)]
            continue
        good[contract.station] = contract
        faults += [f"{file}: {fault}" for fault in _faults(settings, contract)]
    try:
        if not station and not faults:
            read_stations(settings.stations)
        read_indicators(settings.folder, good)
    except ContractError as error:
        faults.append(str(error))
    if as_json:
        print_json({"good": not faults, "stations": list(good), "faults": faults})
    else:
        draw(
            ["station", "resources", "checks", "feeds"],
            [
                (
                    name,
                    len(contract.resources),
                    sum(
                        len(item.checks)
                        for each in contract.resources.values()
                        for item in each.items.values()
                    ),
                    ", ".join(
                        sorted({feed.store for each in contract.resources.values() for feed in each.feeds})
                    ),
                )
                for name, contract in good.items()
            ],
        )
        for fault in faults:
            out.print(f"✗ {fault}", markup=False, soft_wrap=True)
        out.print("All contracts hold." if not faults else f"{len(faults)} faults.")
    if faults:
        raise typer.Exit(1)


def _faults(settings: Settings, contract: Contract) -> list[str]:
    from connectors import registry
    from datarail.contract_file import expand, read_secret
    from datarail.themes import read_themes, unknown_fields

    found: list[str] = []
    try:
        expand(contract.source.url)
        read_secret(contract.source.password, settings.folder)
    except ContractError as error:
        found.append(f"source: {error}")
    if contract.source.kind not in registry.KINDS:
        found.append(f"source.kind: {contract.source.kind} is none of {', '.join(registry.KINDS)}")
    themes = read_themes(settings.folder)
    for name, resource in contract.resources.items():
        for feed in resource.feeds:
            for field in unknown_fields(feed, themes[feed.store]):
                known = ", ".join(themes[feed.store].fields)
                found.append(f"resources.{name}.feeds: {feed.store} has no field {field}; it has {known}")
    return found


def _keep_password(settings: Settings, station: str, password: str, env: str | None) -> dict[str, str] | None:
    """Where the contract says the password is: never in the contract itself."""
    if env:
        return {"env": env}
    if not password:
        return None
    file = settings.home / "secrets" / station
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.touch(mode=0o600)
    file.write_text(password)
    return {"file": str(Path(file).relative_to(settings.folder))}


def add_to(app: typer.Typer) -> None:
    for command in (attach, check):
        app.command()(command)
