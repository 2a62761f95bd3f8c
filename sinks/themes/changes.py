"""What golden records in Redis are to be told: contributions to set, as columns, and the rest. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from sinks.redis_calls import Commands
from sinks.texts import as_bytes, laid_out

#: A golden record's key, a field of it, and what the script is to do with it.
Change = tuple[bytes, bytes, bytes]


class Sets(NamedTuple):
    """Contributions to be set: three text columns without nulls. anew: one that is in its record
    already is not among the others' (a record with none in it would be about to expire)."""

    keys: pl.Series
    fields: pl.Series
    texts: pl.Series
    anew: bool

    def commands(self, rows: int) -> Iterator[Commands]:
        """The commands that set so many contributions at a time.

        Written by columns, without an object a value: 0.6 µs of a change instead of 3.
        """
        parts: list[pl.Expr] = [pl.lit("*4\r\n$4\r\nHSET\r\n")]
        for name in ("keys", "fields", "texts"):
            parts += _argument(name)
        if self.anew:
            parts += [pl.lit("*2\r\n$7\r\nPERSIST\r\n"), *_argument("keys")]
        frame = pl.DataFrame({"keys": self.keys, "fields": self.fields, "texts": self.texts})
        places, data = laid_out(frame.select(pl.concat_str(parts)).to_series())
        for start in range(0, frame.height, rows):
            end = min(start + rows, frame.height)
            yield Commands((1 + self.anew) * (end - start), data[places[start] : places[end]].data)


def _argument(name: str) -> list[pl.Expr]:
    size = pl.col(name).str.len_bytes().cast(pl.String)
    return [pl.lit("$"), size, pl.lit("\r\n"), pl.col(name), pl.lit("\r\n")]


@dataclass(slots=True)
class Changes:
    """sets: may come in any order, but before the others. keys, arguments: the others, in order, as the
    script takes them: keys, and field and text by turns."""

    sets: list[Sets] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    arguments: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(each.keys) for each in self.sets) + len(self.keys)

    def append(self, change: Change) -> None:
        self.keys.append(change[0])
        self.arguments += change[1:]

    def without_sets(self) -> Changes:
        return Changes([], self.keys, self.arguments)

    def one_by_one(self) -> Changes:
        """The same with the sets among the others."""
        if not self.sets:
            return self
        keys: list[bytes] = []
        arguments: list[bytes] = []
        for each in self.sets:
            woven = [b""] * (2 * len(each.keys))
            woven[0::2], woven[1::2] = as_bytes(each.fields), as_bytes(each.texts)
            keys += as_bytes(each.keys)
            arguments += woven
        return Changes([], keys + self.keys, arguments + self.arguments)

    def part(self, start: int, end: int) -> Changes:
        """Of the others, those from one place to another."""
        return Changes([], self.keys[start:end], self.arguments[2 * start : 2 * end])

    def __iter__(self) -> Iterator[Change]:
        told = self.one_by_one()
        return zip(told.keys, told.arguments[0::2], told.arguments[1::2], strict=True)
