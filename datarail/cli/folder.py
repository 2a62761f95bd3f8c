"""The working folder's line, for commands that need it to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from datarail.errors import Terminal
from datarail.settings import Settings

if TYPE_CHECKING:
    from deploy.line import Part


def running() -> Settings:
    """The folder's settings. Raises Terminal where its line is down: each client would find so by
    itself, some after ten seconds, and say it in words of its own."""
    from deploy import line

    settings = Settings.load()
    if is_down(settings, line.parts(settings)):
        raise down(settings)
    return settings


def is_down(settings: Settings, parts: Sequence[Part]) -> bool:
    """Whether all servers are the folder's own, and stopped. parts: the processes there are."""
    return settings.served_here and not parts


def down(settings: Settings) -> Terminal:
    """What is said of a line that does not run."""
    return Terminal(
        f"the line of {settings.folder} is not running",
        remedy="`datarail up` starts it; one that runs from another folder is reached from there, "
        "or with DATARAIL_FOLDER",
    )
