"""The six theme stores: their fields, and which department is the authority for which.

The stores the line starts with are in themes.yaml beside this file; a working folder's own
themes.yaml replaces a store of the same name, whole.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from datarail.contract import Feed, Model, StoreName
from datarail.contract_file import read_model
from datarail.types import ItemType


class ThemeField(Model):
    """One field of a golden record. authority: departments, the first the highest; departments
    not named rank below all that are, and among equals the later commit wins."""

    title: str
    type: ItemType = "string"
    authority: list[str] = Field(default_factory=list)


class Theme(Model):
    """A theme store: its key and fields."""

    title: str
    key: str
    key_title: str
    fields: dict[str, ThemeField]

    def rank(self, field: str, department: str) -> int:
        """0 is the highest authority for the field."""
        authority = self.fields[field].authority
        return authority.index(department) if department in authority else len(authority)


class Themes(Model):
    themes: dict[StoreName, Theme]


def read_themes(folder: Path) -> dict[StoreName, Theme]:
    """The stores of a working folder: the line's own, over them the folder's themes.yaml."""
    stores = dict(read_model(Path(__file__).with_name("themes.yaml"), Themes).themes)
    own = folder / "themes.yaml"
    if own.exists():
        stores |= read_model(own, Themes).themes
    return stores


def unknown_fields(feed: Feed, theme: Theme) -> list[str]:
    """Fields a feed fills that its store does not have."""
    return [field for field in feed.fields if field not in theme.fields]
