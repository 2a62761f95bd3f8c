"""The departments of the sample city and their tables."""

from __future__ import annotations

from dataclasses import dataclass

from examples.city import grid, ground, market, market_papers, police, police_papers
from examples.city.table import Table


@dataclass(frozen=True)
class Department:
    """One database of the city. Its station is `<code>.<system>`."""

    code: str
    system: str
    title: str
    schema: str
    tables: tuple[Table, ...]

    @property
    def database(self) -> str:
        return self.code

    @property
    def station(self) -> str:
        return f"{self.code}.{self.system}"


DEPARTMENTS = (
    Department("police", "household", "公安局户籍", "hj", (*police.TABLES, *police_papers.TABLES)),
    Department("market", "firms", "市场监管局企业登记", "public", (*market.TABLES, *market_papers.TABLES)),
    Department("grid", "events", "基层治理网格事件", "public", (*grid.TABLES, *ground.TABLES)),
)


def sizes(rows: int) -> dict[str, int]:
    """Rows of each resource in a city of `rows` rows; they add up, and no table is empty."""
    tables = [table for department in DEPARTMENTS for table in department.tables]
    if rows < len(tables):
        raise ValueError(f"a city has {len(tables)} tables, so at least as many rows; asked for {rows}")
    counts = {table.resource: max(1, rows * table.share // 1000) for table in tables}
    while (over := sum(counts.values()) - rows) > 0:
        largest = max(counts, key=lambda name: counts[name])
        counts[largest] -= min(over, counts[largest] - 1)
    counts["access_log"] += rows - sum(counts.values())
    return counts
