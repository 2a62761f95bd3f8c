"""Full-width characters and stray blanks in codes, ids and numbers, made half-width.

Only for values that a standard or a type defines: a name may hold what it likes.
"""

from __future__ import annotations

import polars as pl

#: Full-width forms, ideographic space, any other blank: what typing with a Chinese keyboard leaves.
_BLANKS = r"[\s\p{Z}\x{200B}\x{FEFF}]+"


def half_width(values: pl.Series) -> pl.Series:
    """NFKC, and no blank anywhere."""
    return values.str.normalize("NFKC").str.replace_all(_BLANKS, "")


def tell_changes(written: str, mended: str) -> str:
    """What was changed, in words."""
    changes = []
    if any(character.isspace() or character in "\u200b\ufeff" for character in written):
        changes.append("多余的空格")
    if any("\uff01" <= character <= "\uff5e" for character in written):
        changes.append("全角字符")
    if any(character.islower() for character in written) and not any(c.islower() for c in mended):
        changes.append("小写字母")
    return "、".join(changes) or "不规范的写法"
