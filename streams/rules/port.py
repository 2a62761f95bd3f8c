"""What a rule is: one expression over a car's cleaned columns, and the sentences that go with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from datarail.columns import column
from datarail.contract import Dimension, Item, Severity

#: Types whose cleaned value is text; their rules read the column itself.
TEXT_TYPES = ("string", "json", "bytes")

#: Columns a rule finds beside the cleaned ones: the moment and, in China, the day of judging.
NOW, TODAY = "_now", "_today"


@dataclass(frozen=True, slots=True)
class Reason:
    """One way to be wrong. `tell` is given the item's title and the value as text, and makes one
    sentence a clerk understands: what is wrong and what would be right. It must not repeat a value
    that a mask would hide."""

    severity: Severity
    dimension: Dimension
    tell: Callable[[str, str], str]


#: One row as plain values: by item its cleaned value as small cars have it (datarail.small_car),
#: and under NOW and TODAY the moment and the day of judging in the same spelling.
Plain = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """One check of one item.

    wrong: over the columns of a cleaned car (`column(item)`), evaluated for all rows at once.
    With one reason a boolean, true where wrong; with several an integer whose bit i is reason i.
    Null counts as right: a value that is not there is the business of `required` alone.
    right: for a handful of rows, one by one: true only where the row is surely right. It may be
    false for a right one, which is then judged by `wrong`; None: there is no such way.
    """

    name: str
    item: str
    wrong: pl.Expr
    reasons: tuple[Reason, ...]
    right: Callable[[Plain], bool] | None = None


@dataclass(frozen=True, slots=True)
class Mend:
    """How values of one standard are put right before they are judged.

    suspicious: Rust regex; a column none of whose values contains it is left as it is.
    mend: over the suspicious values alone.
    tell: the sentence for a value that was changed, from title, value as written, mended value.
    """

    suspicious: str
    mend: Callable[[pl.Series], pl.Series]
    tell: Callable[[str, str, str], str]
    #: False: blanks around the value are padding, not worth a flag.
    flags_padding: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule is being built: the item it checks, among the others of its resource."""

    name: str
    items: Mapping[str, Item]

    @property
    def item(self) -> Item:
        return self.items[self.name]

    def kind(self, name: str | None = None) -> str:
        return self.items[name or self.name].type

    def typed(self, name: str | None = None) -> pl.Expr:
        """The cleaned value, in its own type."""
        return pl.col(column(name or self.name))

    def text(self, name: str | None = None) -> pl.Expr:
        """The cleaned value as text."""
        typed = self.typed(name)
        return typed if self.kind(name) in TEXT_TYPES else typed.cast(pl.String)

    def told(self, name: str | None = None) -> Callable[[Plain], str | None] | None:
        """`text` of a plain row; None for types whose text is not as plain."""
        item = name or self.name
        if self.kind(item) in TEXT_TYPES:
            return lambda row: row[item]
        if self.kind(item) == "integer":
            return lambda row: None if row[item] is None else str(row[item])
        return None

    def title(self, name: str) -> str:
        """What people call an item."""
        return self.items[name].title or name
