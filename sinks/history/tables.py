"""A resource's history table: its columns follow the cars', and grow with them."""

from __future__ import annotations

import pyarrow as pa

from sinks.clickhouse import ClickHouse, create_table, quoted

DATABASE = "history"

#: The items of `_unchanged` by name: the bitmap's bits mean the items of its own car, whose
#: order a change of schema makes another.
UNCHANGED_ITEMS = "_unchanged_items"
#: When the row became queryable.
LANDED = "_landed DateTime64(3, 'UTC') DEFAULT now64(3)"
_MAY_BE_NULL = {"_unchanged", "_findings"}
TEXT = "Nullable(String)"


def table_name(station: str, resource: str) -> str:
    return f"{station}.{resource}"


def full_name(table: str) -> str:
    """The table as quoted SQL, with its database."""
    return f"{quoted(DATABASE)}.{quoted(table)}"


def column_type(name: str, kind: pa.DataType) -> str:
    """The ClickHouse type of a car's column. Raises ValueError for one that no car may have."""
    if pa.types.is_list(kind):
        return f"Array({_plain_type(kind.value_type)})"
    meta = name.startswith("_") and not name.startswith(("__", "_w_"))
    nullable = not meta or name in _MAY_BE_NULL
    plain = _plain_type(kind)
    return f"Nullable({plain})" if nullable else plain


def _plain_type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        sign = "U" if pa.types.is_unsigned_integer(kind) else ""
        return f"{sign}Int{kind.bit_width}"
    if pa.types.is_boolean(kind):
        return "Bool"
    if pa.types.is_date(kind):
        return "Date32"
    if pa.types.is_timestamp(kind):
        return "DateTime64(6, 'UTC')"
    if pa.types.is_decimal(kind):
        return f"Decimal({kind.precision}, {kind.scale})"
    if pa.types.is_floating(kind):
        return f"Float{kind.bit_width}"
    if (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_null(kind)
    ):
        return "String"
    raise ValueError(f"no ClickHouse type for {kind}")


def wanted_columns(schema: pa.Schema) -> dict[str, str]:
    """Columns, by name, that the table must have to take rows of this schema."""
    return {field.name: column_type(field.name, field.type) for field in schema}


def changes(there: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """ALTER clauses that make room for `wanted`. Nothing is ever dropped.

    A cleaned item whose type was changed in the contract becomes text: any value fits, and what
    was landed before stays as it reads.
    """
    clauses = []
    for name, kind in wanted.items():
        if name not in there:
            clauses.append(f"ADD COLUMN IF NOT EXISTS {quoted(name)} {kind}")
        elif _bare(there[name]) != _bare(kind) and there[name] != TEXT:
            clauses.append(f"MODIFY COLUMN {quoted(name)} {TEXT}")
    return clauses


def _bare(kind: str) -> str:
    return kind.replace(" ", "")


class Tables:
    """The tables as this process knows them; made and widened as cars ask for it."""

    def __init__(self) -> None:
        self._columns: dict[str, dict[str, str]] = {}

    def knows(self, table: str) -> bool:
        """Whether the table has been made ready in this process."""
        return table in self._columns

    def prepare(self, store: ClickHouse, table: str, schema: pa.Schema, ttl: str | None = None) -> bool:
        """Make sure the table takes rows of this schema; whether anything of it may be new. ttl: SQL
        from the contract, if any."""
        wanted = wanted_columns(schema)
        there = self._columns.get(table)
        if there is not None and not changes(there, wanted):
            return False
        create_table(
            store,
            full_name(table),
            [
                *(f"{quoted(name)} {kind}" for name, kind in wanted.items()),
                LANDED,
                "INDEX landed _landed TYPE minmax GRANULARITY 1",
            ],
            "(_key, _epoch, _pos, _idx, _part)",
            partition="toYYYYMM(_commit)",
            ttl=ttl,
        )
        there = self._describe(store, table)
        if clauses := changes(there, wanted):
            store.command(f"ALTER TABLE {full_name(table)} {', '.join(clauses)}", {"mutations_sync": 1})
            there = self._describe(store, table)
        self._columns[table] = there
        return True

    def columns(self, table: str) -> dict[str, str]:
        """The columns of a table that is known: type by name."""
        return self._columns[table]

    def _describe(self, store: ClickHouse, table: str) -> dict[str, str]:
        found = store.rows(
            "SELECT name, type FROM system.columns "
            "WHERE database = {database:String} AND table = {table:String}",
            database=DATABASE,
            table=table,
        )
        return {name: kind for name, kind in found}  # noqa: C416 - pairs come as lists
