"""Cleaning a handful of rows, value by value: what `streams.clean` does, in the good case alone.

Polars' price is per expression: a car costs it two milliseconds, whatever its rows. Under a light
load with many resources nearly every car has one row. So small cars are read here, and given up at
the first doubt (a spelling to mend, a value that does not read): such rows then go the way of larger
cars, which alone mends. A row that reads well and may break a rule is judged by itself
(streams.few_judged).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from datarail.contract import Item, Resource
from datarail.small_car import EPOCH, IDX, OP, PART, POS, UNCHANGED, Row, Shape, SmallCar, shape, type_text
from datarail.types import arrow_type
from streams.clock import CHINA
from streams.few_judged import Judge, judged
from streams.kind import rules_of
from streams.plain_values import Doubt, reader
from streams.plan import ItemPlan, item_plan
from streams.rules.port import NOW, TODAY

_CHANGES = frozenset(b"cur")
_DELETE = ord("d")


def moments(now: datetime) -> dict[str, str]:
    """What rules of a plain row (streams.rules.port.Plain) judge by, beside its values."""
    return {
        NOW: now.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z",
        TODAY: now.astimezone(CHINA).date().isoformat(),
    }


class FewCleaner:
    """Cleans small cars of one resource; a row that it does not take stays as it is."""

    def __init__(self, resource: Resource) -> None:
        self._items = resource.items
        self._key = resource.key
        self._only = {item: frozenset(values) for item, values in resource.only.items()}
        self._readers = {name: _reader(item_plan(name, item)) for name, item in resource.items.items()}
        self._cleaned = tuple(
            (name, type_text(arrow_type(item.type, item.precision, item.scale)))
            for name, item in resource.items.items()
        )
        rules = [rule for name in resource.items for rule in rules_of(name, resource.items)]
        self._rules = [(rule.right, Judge(rule, resource.items)) for rule in rules if rule.right is not None]
        #: Whether there is a plain way for every rule, and the moments' names are no item's.
        self._judges = len(self._rules) == len(rules) and not {NOW, TODAY} & resource.items.keys()
        self._layouts: dict[Shape, _Layout | None] = {}

    def clean(self, car: SmallCar, moments: Mapping[str, str]) -> list[SmallCar]:
        """A raw car's rows, in order, as cars: clean ones, and raw ones of rows that are in doubt."""
        layout = self._layout(car.shape)
        if layout is None:
            return [car]
        parts: list[SmallCar] = []
        for row in car.rows:
            try:
                made, now = self._row(row, layout, moments), layout.shape
            except Doubt:
                made, now = row, car.shape
            if not parts or parts[-1].shape is not now:
                parts.append(SmallCar(now))
            parts[-1].rows.append(made)
        return parts

    def _layout(self, raw: Shape) -> _Layout | None:
        if raw not in self._layouts:
            there = self._judges and self._items.keys() <= raw.written.keys()
            self._layouts[raw] = _Layout(raw, self._cleaned) if there else None
        return self._layouts[raw]

    def _row(self, row: Row, layout: _Layout, moments: Mapping[str, str]) -> Row:
        op, bits = row[OP], row[UNCHANGED]
        places = layout.raw.written
        values: dict[str, Any] = {}
        held, told = False, None
        if op == _DELETE:
            values = dict.fromkeys(self._items)
            for item in self._key:
                text = row[places[item]]
                values[item] = None if text is None else self._readers[item](text)
        elif op in _CHANGES:
            left_out = layout.left_out(bits) if bits is not None else ()
            for item, wanted in self._only.items():
                if row[places[item]] not in wanted and item not in left_out:
                    raise Doubt
            for item, read in self._readers.items():
                text = row[places[item]]
                values[item] = None if text is None else read(text)
            values |= moments
            asked = [
                judge for right, judge in self._rules if not right(values) and judge.rule.item not in left_out
            ]
            if asked:
                findings = judged(asked, values)
                held, told = bool(findings.held[0]), findings.column()[0].as_py()
            del values[NOW], values[TODAY]
        else:
            raise Doubt
        return [*row, self._key_of(row, places), held, told, *values.values()]

    def _key_of(self, row: Row, places: Mapping[str, int]) -> str:
        key = self._key
        if len(key) == 1:
            text: str | None = row[places[key[0]]]
            if text is None:
                raise Doubt
            return text
        if key:
            return orjson.dumps([row[places[item]] for item in key]).decode()
        return f"{row[EPOCH]}.{row[POS]}.{row[IDX]}.{row[PART]}"


def as_written(car: SmallCar) -> SmallCar:
    """The raw car that a clean one was made of."""
    return SmallCar(shape(car.shape.items), [row[: car.shape.key] for row in car.rows])


class _Layout:
    """What is known of raw cars of one shape."""

    def __init__(self, raw: Shape, cleaned: tuple[tuple[str, str], ...]) -> None:
        self.raw = raw
        self.shape = shape(raw.items, cleaned)
        self._sets: dict[str, frozenset[str]] = {}

    def left_out(self, bits: str) -> frozenset[str]:
        """The items that a bitmap says were not sent."""
        found = self._sets.get(bits)
        if found is None:
            found = self._sets[bits] = frozenset(self.raw.unchanged(bits))
        return found


def _reader(plan: ItemPlan) -> Callable[[str], Any]:
    """From a value as written to its cleaned one; raises Doubt."""
    read = reader(plan.item)
    known = plan.codes.known if plan.codes else None
    if known is not None and plan.is_text:
        return lambda text: _known(known, text, plan.item)
    if known is not None:
        return lambda text: read(known.get(text.strip(), text))
    if plan.item.type != "string" or plan.mend is None:
        return read
    suspicious = re.compile(plan.mend[1].suspicious).search

    def unsuspicious(text: str) -> Any:
        if suspicious(text):
            raise Doubt
        return read(text)

    return unsuspicious


def _known(known: Mapping[str, str], text: str, item: Item) -> str:
    code = known.get(text)
    if code is None or (item.type == "string" and text.strip() != text):
        raise Doubt
    return code
