"""The golden record in SQL: the same choice as sinks.themes.merge, by ClickHouse. Pure text."""

from __future__ import annotations

from datarail.themes import Theme, ThemeField
from sinks.clickhouse import literal, quoted


def view(store: str, theme: Theme) -> str:
    """SELECT of the golden records: the theme's key, then <field>, <field>_source, <field>_time.

    <field>_source is `<station>/<resource>/<source key>`; <field>_time when that was committed.
    held_since: a newer change of a contribution is held in quarantine since then.
    """
    chosen = ", ".join(
        f"{_choice(name, field)} AS {quoted('_' + name)}" for name, field in theme.fields.items()
    )
    shown = ", ".join(_shown(name) for name in theme.fields)
    return (
        f"SELECT theme_key AS {quoted(theme.key)}, {shown}, held_since, contributions FROM ("
        f"SELECT theme_key, {chosen}, maxOrNull(s.held_since) AS held_since, count() AS contributions "
        f"FROM theme.{quoted(store + '_source')} AS s FINAL WHERE is_deleted = 0 GROUP BY theme_key)"
    )


def _choice(name: str, field: ThemeField) -> str:
    """Highest authority, then the later commit; the rest only so that the choice is one."""
    value = quoted("f_" + name)
    department = "splitByChar('.', station)[1]"
    if field.authority:
        listed = ", ".join(literal(code) for code in field.authority)
        ranks = ", ".join(str(rank) for rank in range(len(field.authority)))
        rank = f"transform({department}, [{listed}], [{ranks}], {len(field.authority)})"
    else:
        rank = "0"
    source = "concat(station, '/', resource, '/', source_key)"
    later = "-toUnixTimestamp64Micro(commit), station, bitNot(version), resource, source_key, feed"
    order = f"tuple({rank}, {later})"
    return f"argMinIf(tuple({value}, {source}, commit), {order}, {value} IS NOT NULL)"


def _shown(name: str) -> str:
    chosen = quoted("_" + name)
    return (
        f"{chosen}.1 AS {quoted(name)}, nullIf({chosen}.2, '') AS {quoted(name + '_source')}, "
        f"if({chosen}.2 = '', NULL, {chosen}.3) AS {quoted(name + '_time')}"
    )
