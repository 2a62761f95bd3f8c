"""Definitions of real-time indicators: indicators.yaml of a working folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from datarail.contract import Contract, Model
from datarail.contract_file import read_model
from datarail.errors import ContractError


class Indicator(Model):
    """A number kept up to date over a resource's current rows.

    measure: count of rows, or sum of an item. by: items whose cleaned values are the
    dimensions, in order. day: a date or timestamp item; its day (UTC) becomes one more
    dimension, the last. where: only rows whose item has one of the values.
    """

    title: str
    station: str
    resource: str
    measure: Literal["count", "sum"] = "count"
    item: str | None = None
    by: list[str] = Field(default_factory=list)
    day: str | None = None
    where: dict[str, list[str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sum_has_item(self) -> Indicator:
        if (self.measure == "sum") != (self.item is not None):
            raise ValueError("measure sum needs an item, measure count has none")
        return self


class Indicators(Model):
    indicators: dict[str, Indicator] = Field(default_factory=dict)


def read_indicators(folder: Path, stations: dict[str, Contract]) -> dict[str, Indicator]:
    """The folder's indicators; one of a station that is not attached (yet) is kept.

    Raises ContractError naming file, indicator and item.
    """
    file = folder / "indicators.yaml"
    if not file.exists():
        return {}
    indicators = read_model(file, Indicators).indicators
    for name, indicator in indicators.items():
        contract = stations.get(indicator.station)
        if contract is None:
            continue
        resource = contract.resources.get(indicator.resource)
        if resource is None:
            raise ContractError(
                f"{name}: {indicator.station} has no resource {indicator.resource}", part=str(file)
            )
        wanted = [*indicator.by, *indicator.where, *filter(None, (indicator.item, indicator.day))]
        for item in wanted:
            if item not in resource.items:
                raise ContractError(f"{name}: {indicator.resource} has no item {item}", part=str(file))
    return indicators
