"""Proving that nothing was lost, and making a sink anew."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datarail.cli.folder import running
from datarail.cli.screen import JsonFlag, draw, out, print_json, say, show
from datarail.errors import Terminal
from datarail.settings import Settings

if TYPE_CHECKING:
    from connectors.port import SourceRows
    from datarail.contract import Contract
    from sinks.ledger.query import Totals


def audit(
    station: Annotated[str | None, typer.Argument(help="One station; all when left out.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the line to drain.")] = 120.0,
    as_json: JsonFlag = False,
) -> None:
    """Compare every source, key by key and as written, with what landed; exit 1 on a difference.

    Works under load: the source is read in one snapshot, and what history is compared with is
    what that very snapshot could see.
    """
    from connectors import registry
    from datarail.contract_file import sound_stations
    from sinks.drain import wait_until_landed
    from sinks.ledger.cut import take_cut, totals_at

    settings = running()
    late: list[str] = []
    contracts = sound_stations(settings.stations, lambda fault: late.append(f"not audited: {fault}"))
    if station is not None and station not in contracts:
        raise Terminal(
            f"there is no station {station}", remedy=f"known stations: {', '.join(contracts) or 'none'}"
        )
    wanted = {name: contract for name, contract in contracts.items() if station in (None, name)}
    deadline = time.monotonic() + timeout
    sources: dict[tuple[str, str], SourceRows] = {}
    for name, contract in wanted.items():
        kind = registry.KINDS[contract.source.kind]
        for resource in contract.resources:
            say(f"{name} {resource}: reading the source …")
            sources[name, resource] = kind.read_rows(settings, contract, resource)
        highest = max(rows.lsn for (each, _), rows in sources.items() if each == name)
        if not kind.wait_captured(settings, contract, highest, _left(deadline)):
            late.append(f"the connector of {name} has not read all that was committed when the audit began")
    # Only what raw topics hold by now is waited for; the cut is taken when clean trains cover it.
    late += wait_until_landed(settings, _left(deadline))
    cut = take_cut(settings)
    late += wait_until_landed(settings, _left(deadline))
    findings = _compare(settings, wanted, sources, totals_at(settings, cut))
    document = {
        "balanced": not late and all(finding["balanced"] for finding in findings),
        "resources": findings,
        "late": late,
    }
    show(document, as_json, lambda: _draw(document))
    if not document["balanced"]:
        raise typer.Exit(1)


def rebuild(
    sink: Annotated[str, typer.Argument(help="As `datarail status` names it, without sink-.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Wipe a sink and fill it again, from Kafka or from history."""
    from deploy import line
    from sinks.rebuild import rebuild as rebuild_sink
    from sinks.registry import SINKS

    if sink not in SINKS:
        raise Terminal(f"there is no sink {sink}", remedy=f"one of {', '.join(SINKS)}")
    settings = running()
    if not yes:
        typer.confirm(f"Wipe {sink} and fill it again?", abort=True, err=True)
    part = f"sink-{sink}"
    was_running = part in {each.name for each in line.parts(settings)}
    if was_running:
        line.stop_part(settings, part)
    try:
        rebuild_sink(settings, sink, say)
    finally:
        if was_running:
            line.start_part(settings, part)
    if as_json:
        print_json({"sink": sink, "state": "rebuilt"})
    else:
        say(f"{sink} is rebuilt.")


def _compare(
    settings: Settings,
    contracts: dict[str, Contract],
    sources: dict[tuple[str, str], SourceRows],
    ledger: list[Totals],
) -> list[dict[str, Any]]:
    from sinks import audit as landed_audit

    sums = {(each.station, each.resource): each for each in ledger}
    found = []
    for (station, resource), rows in sources.items():
        definition = contracts[station].resources[resource]
        difference = landed_audit.compare(
            settings,
            station,
            resource,
            rows.items,
            bool(definition.key),
            rows.rows,
            rows.snapshot,
        )
        found.append(landed_audit.Finding(difference, sums.get((station, resource))).record())
    return found


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 1.0)


def _draw(document: dict[str, Any]) -> None:
    names = ("captured", "landed", "quarantined", "filtered", "missing", "extra", "differing", "balanced")
    draw(
        ["station", "resource", *names],
        [(row["station"], row["resource"], *(row[name] for name in names)) for row in document["resources"]],
    )
    for row in document["resources"]:
        for kind, keys in row["examples"].items():
            out.print(
                f"✗ {row['station']} {row['resource']}: {kind}, for example {', '.join(keys)}", markup=False
            )
        if row["unfollowed"]:
            name = f"{row['station']} {row['resource']}"
            out.print(f"· {name}: {row['unfollowed']:,} rows were since changed or removed in the source;")
            out.print("  a table without a key sends its inserts alone")
    for late in document["late"]:
        out.print(f"✗ {late}", markup=False)
    out.print("Balanced: nothing lost, nothing twice." if document["balanced"] else "Not balanced.")


def add_to(app: typer.Typer) -> None:
    for command in (audit, rebuild):
        app.command()(command)
