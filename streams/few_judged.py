"""What is wrong with one row that was read without doubt: the rules it may break, asked of it alone.

Some rows in a hundred break a rule, and the way of larger cars costs each of them four milliseconds.
Here the rules in question judge a frame of that one row and of the columns they ask for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from datarail.columns import column, item_of
from datarail.contract import Item
from datarail.small_car import typed
from datarail.types import arrow_type
from streams.clean import DATA_ERRORS
from streams.findings import Findings
from streams.plain_values import Doubt
from streams.plan import polars_type
from streams.rules.port import NOW, TODAY, Rule
from streams.values import tell


class Judge:
    """Judges rows of one resource by one of its rules."""

    def __init__(self, rule: Rule, items: Mapping[str, Item]) -> None:
        self.rule = rule
        self._items = items
        self._wrong = rule.wrong.alias("wrong")
        asked = {column(rule.item), *rule.wrong.meta.root_names()}
        self._read = {
            name: arrow_type(each.type, each.precision, each.scale)
            for name, each in ((name, items[item_of(name)]) for name in sorted(asked - {NOW, TODAY}))
        }
        self._types = {name: polars_type(items[item_of(name)]) for name in self._read}
        self._moments = asked & {NOW, TODAY}

    def tell(self, values: Mapping[str, Any], findings: Findings) -> None:
        """Add what the rule finds. values: by item the row's cleaned values, and the moments
        (streams.rules.port.Plain); findings: of one row. Raises Doubt."""
        try:
            frame = pl.DataFrame([
                *(pl.Series(name, typed(kind, [values[item_of(name)]]), dtype=self._types[name])
                  for name, kind in self._read.items()),
                *(_moment(name, values[name]) for name in self._moments),
            ])  # fmt: skip
            bits = int(frame.select(self._wrong).item() or 0)
        except DATA_ERRORS as error:
            raise Doubt from error  # the way of larger cars holds what no rule can judge
        item = self.rule.item
        tell(self.rule, self._items[item], frame.item(0, column(item)), bits, 0, findings)


def judged(judges: Sequence[Judge], values: Mapping[str, Any]) -> Findings:
    """The findings of one row by these rules, in their order."""
    findings = Findings(1)
    for judge in judges:
        judge.tell(values, findings)
    return findings


def _moment(name: str, text: str) -> pl.Series:
    if name == NOW:
        return pl.Series(name, [datetime.fromisoformat(text)], dtype=pl.Datetime("us", "UTC"))
    return pl.Series(name, [date.fromisoformat(text)], dtype=pl.Date)
