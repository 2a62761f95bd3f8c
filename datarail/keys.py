"""The source key of a change as one text, the same in every hop and every store.

One key item: its text as written. Several: the texts as a compact JSON array, in the
contract's order. No key (a table without one): the identity of the change, since each of its
rows is a thing of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import orjson
import polars as pl

from datarail.columns import WRITTEN
from datarail.position import Identity


def key_text(parts: Sequence[str | None], identity: Identity) -> str:
    """The key of one change. `parts` are the key items as written."""
    if not parts:
        return identity.text()
    if len(parts) == 1:
        return parts[0] or ""
    return orjson.dumps(list(parts)).decode()


def key_column(key: Sequence[str]) -> pl.Expr:
    """`key_text` as an expression over a car's columns, for a resource with these key items."""
    if not key:
        return pl.concat_str(["_epoch", "_pos", "_idx", "_part"], separator=".").alias("_key")
    if len(key) == 1:
        return pl.col(WRITTEN + key[0]).fill_null("").alias("_key")
    quoted = [_json_string(pl.col(WRITTEN + item)) for item in key]
    return pl.concat_str(
        [pl.lit("["), *_between(quoted, pl.lit(",")), pl.lit("]")],
    ).alias("_key")


def partition_of(resource: str, key: str, partitions: int) -> int:
    """The partition of a key: all changes of one source key go through one partition in order."""
    return zlib.crc32(key.encode(), zlib.crc32(resource.encode())) % partitions


def _json_string(text: pl.Expr) -> pl.Expr:
    # JSON escapes, as orjson writes them: quote, backslash, control characters.
    escaped = text.str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
    for code in range(0x20):
        short = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}.get(code, f"\\u{code:04x}")
        escaped = escaped.str.replace_all(chr(code), short, literal=True)
    return pl.concat_str([pl.lit('"'), escaped, pl.lit('"')]).fill_null("null")


def _between(parts: list[pl.Expr], separator: pl.Expr) -> list[pl.Expr]:
    woven: list[pl.Expr] = []
    for index, part in enumerate(parts):
        woven += [separator, part] if index else [part]
    return woven
