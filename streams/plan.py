"""How one item of a contract is cleaned, as expressions over its column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from datarail.columns import WRITTEN, column
from datarail.contract import Item
from streams import coerce
from streams.rules import MENDS
from streams.rules.half_width import half_width
from streams.rules.port import TEXT_TYPES, Mend

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

    def doubts(self) -> dict[str, pl.Expr]:
        """Whether a second look is needed: by what it is to look for, one boolean."""
        value = pl.col(column(self.name))
        if not self.is_text:
            unread = value.is_null() & self.written.is_not_null()
            doubt = coerce.doubt(self.item, self.written, value)
            return {"coerce": (unread if doubt is None else unread | doubt).any().alias("coerce")}
        if self.item.type != "string":
            return {}
        doubts = {"blank": (value == "").any().alias("blank")}
        if self.mend and not self.codes:
            watched = self.written if self.mend[1].flags_padding else value
            doubts["mend"] = watched.str.contains(self.mend[1].suspicious).any().alias("mend")
        return doubts

    def doubtful(self) -> list[pl.Expr]:
        """`doubts` where no text has blanks around it, less what null counts tell: at most one."""
        if not self.is_text:
            doubt = coerce.doubt(self.item, self.written, pl.col(column(self.name)))
            return [] if doubt is None else [doubt.any().alias("doubtful")]
        if self.mend and not self.codes and self.item.type == "string":
            return [self.written.str.contains(self.mend[1].suspicious).any().alias("doubtful")]
        return []


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
