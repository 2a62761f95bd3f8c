"""What the rules found in one car, row by row: built only for the rows at fault."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from operator import itemgetter

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from datarail.contract import Dimension, Item, Severity
from datarail.finding import Finding
from streams.masking import mask

Mask = npt.NDArray[np.bool_]
#: What a finding is sorted by among those of its row; those of one order stay as they came.
Order = tuple[int, ...]


class Findings:
    """Findings of a car of `rows` rows."""

    def __init__(self, rows: int) -> None:
        self.held: Mask = np.zeros(rows, dtype=bool)
        self._by_row: dict[int, list[tuple[Order, Finding]]] = defaultdict(list)

    def __bool__(self) -> bool:
        return bool(self._by_row)

    def add(
        self,
        row: int,
        rule: str,
        name: str,
        item: Item | None,
        severity: Severity,
        dimension: Dimension,
        value: str | None,
        message: str,
        order: Order = (),
    ) -> None:
        """Note one finding; `value` is given unmasked. A hard one holds the row."""
        shown = mask(name, item, value) if item and value else ""
        found = Finding(
            rule=rule,
            item=name,
            severity=severity,
            dimension=dimension,
            value=shown,
            message=message,
        )
        self._by_row[row].append((order, found))
        if severity == "hard":
            self.held[row] = True

    def of(self, row: int) -> list[Finding]:
        return [found for _, found in sorted(self._by_row.get(row, ()), key=itemgetter(0))]

    def column(self) -> pa.Array:
        """The _findings column: JSON lists, null where there is nothing to say."""
        if not self._by_row:
            return pa.nulls(len(self.held), pa.utf8())
        texts: list[str | None] = [None] * len(self.held)
        for row in self._by_row:
            texts[row] = orjson.dumps(self.of(row)).decode()
        return pa.array(texts, pa.utf8())

    def held_by_rule(self) -> Counter[str]:
        """Held changes by the rule that held them; a change held by two counts under both."""
        return held_by_rule(self.of(row) for row in np.flatnonzero(self.held).tolist())


def held_by_rule(rows: Iterable[list[Finding]]) -> Counter[str]:
    """Of held changes' findings, how many each rule held."""
    counts: Counter[str] = Counter()
    for found in rows:
        counts.update({each["rule"] for each in found if each["severity"] == "hard"})
    return counts
