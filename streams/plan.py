"""A resource's contract compiled once into expressions over a car's columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from datarail.columns import WRITTEN, column
from datarail.contract import Item, Resource
from datarail.keys import key_column
from streams import coerce
from streams.rules import BUILDERS, MENDS
from streams.rules.half_width import half_width
from streams.rules.port import NOW, TEXT_TYPES, TODAY, Mend, Place, Rule

#: Checks that themselves say which codes there are: an unknown spelling needs no second finding.
_JUDGES_OF_CODES = {"one_of", "sex", "division", "pattern"}


@dataclass(frozen=True)
class Codes:
    """A mapping from the source's spellings to the standard's."""

    mapping: Mapping[str, str]
    told_elsewhere: bool
    known: Mapping[str, str] = field(init=False)
    keys: pl.Enum = field(init=False)
    values: pl.Expr = field(init=False)

    def __post_init__(self) -> None:
        normal = half_width(pl.Series(list(self.mapping), dtype=pl.String)).to_list()
        # The standard's own spelling stands for itself, unless the source gives it another meaning.
        known = {value: value for value in self.mapping.values()}
        known |= dict(zip(normal, self.mapping.values(), strict=True)) | dict(self.mapping)
        object.__setattr__(self, "known", known)
        object.__setattr__(self, "keys", pl.Enum(list(known)))
        object.__setattr__(self, "values", pl.lit(pl.Series(list(known.values()), dtype=pl.String)))

    def apply(self, text: pl.Expr) -> pl.Expr:
        """The standard's code; null for a spelling that is not in the mapping."""
        return self.values.gather(text.cast(self.keys, strict=False).to_physical())


@dataclass(frozen=True)
class ItemPlan:
    """How one item is cleaned."""

    name: str
    item: Item
    mend: tuple[str, Mend] | None
    codes: Codes | None

    @property
    def is_text(self) -> bool:
        return self.item.type in TEXT_TYPES

    @property
    def written(self) -> pl.Expr:
        return pl.col(WRITTEN + self.name)

    def first(self) -> pl.Expr:
        """The cleaned value where it is written as expected."""
        if self.item.type == "string":
            value = self.written.str.strip_chars()
        elif self.is_text:
            value = self.written
        elif self.codes:
            known = self.codes.apply(self.written.str.strip_chars())
            value = coerce.fast(self.item, pl.coalesce(known, self.written))
        else:
            value = coerce.fast(self.item, self.written)
        return value.alias(column(self.name))

    def doubts(self) -> list[pl.Expr]:
        """Whether a second look is needed: booleans under `blank`, `mend` or `coerce` and the name."""
        value = pl.col(column(self.name))
        if not self.is_text:
            unread = value.is_null() & self.written.is_not_null()
            doubt = coerce.doubt(self.item, self.written, value)
            return [(unread if doubt is None else unread | doubt).any().alias("coerce " + self.name)]
        if self.item.type != "string":
            return []
        doubts = [(value == "").any().alias("blank " + self.name)]
        if self.mend and not self.codes:
            watched = self.written if self.mend[1].flags_padding else value
            doubts.append(watched.str.contains(self.mend[1].suspicious).any().alias("mend " + self.name))
        return doubts

    def doubtful(self) -> list[pl.Expr]:
        """`doubts` row by row, for a car without blanks around texts, less what null counts tell."""
        if not self.is_text:
            doubt = coerce.doubt(self.item, self.written, pl.col(column(self.name)))
            return [] if doubt is None else [doubt]
        if self.mend and not self.codes and self.item.type == "string":
            return [self.written.str.contains(self.mend[1].suspicious)]
        return []


class Plan:
    """What to do with the cars of one resource that have these columns: all expressions made once.

    plain: reads every item of a car whose texts have no blanks around them (streams.blanks); first:
    of any car. doubtful: one boolean over the plain car's rows, true where a second look is needed
    that null counts cannot tell; None where there is nothing to ask.
    """

    def __init__(self, resource: Resource, written: frozenset[str]) -> None:
        self.items = resource.items
        self.present = [name for name in resource.items if name in written]
        self.missing = [name for name in resource.items if name not in written]
        self.plans = {name: item_plan(name, resource.items[name]) for name in self.present}
        self.coded = [
            (plan, plan.codes, plan.codes.apply(pl.col(column(name))).alias(column(name)))
            for name, plan in self.plans.items()
            if plan.codes and plan.is_text
        ]
        texts = [plan for plan in self.plans.values() if plan.is_text]
        self.typed = [plan for plan in self.plans.values() if not plan.is_text]
        self.stripped = [plan.name for plan in texts if plan.item.type == "string"]
        rest = [plan.first() for plan in self.typed]
        rest += [
            pl.lit(None, dtype=polars_type(resource.items[name])).alias(column(name)) for name in self.missing
        ]
        key = resource.key
        if len(key) < 2:
            # Without its key column a row is a thing of its own, as in a table without a key.
            rest.append(key_column(key if set(key) <= written else []))
        self.first = [*(plan.first() for plan in texts), *rest]
        self.plain = [*(plan.written.alias(column(plan.name)) for plan in texts), *rest]
        self.doubts = [doubt for plan in self.plans.values() for doubt in plan.doubts()]
        asked = [doubt for plan in self.plans.values() for doubt in plan.doubtful()]
        self.doubtful = pl.any_horizontal(asked).alias("doubtful") if asked else None
        self.rules: list[Rule] = [
            BUILDERS[check.check](Place(name, resource.items), check)
            for name in self.present
            for check in resource.items[name].checks
        ]
        self.wrong = [rule.wrong.alias(str(number)) for number, rule in enumerate(self.rules)]
        used = {name for rule in self.rules for name in rule.wrong.meta.root_names()}
        self.asks_now, self.asks_today = NOW in used, TODAY in used
        # A car in which nothing else is doubtful is judged in the same pass.
        self.asked = 0 if self.doubtful is None else 1
        self.at_once = [*([] if self.doubtful is None else [self.doubtful]), *self.wrong]


def item_plan(name: str, item: Item) -> ItemPlan:
    """The plan of one item of a contract."""
    checks = [check.check for check in item.checks]
    mends = [(check, MENDS[check]) for check in checks if check in MENDS]
    codes = Codes(item.codes, bool(_JUDGES_OF_CODES.intersection(checks))) if item.codes else None
    return ItemPlan(name, item, mends[0] if mends and item.type == "string" else None, codes)


def polars_type(item: Item) -> pl.DataType:
    """What `datarail.types.arrow_type` is in Polars."""
    match item.type:
        case "integer":
            return pl.Int64()
        case "decimal":
            return pl.Decimal(item.precision, item.scale)
        case "float":
            return pl.Float64()
        case "boolean":
            return pl.Boolean()
        case "date":
            return pl.Date()
        case "timestamp":
            return pl.Datetime("us", "UTC")
        case _:
            return pl.String()
