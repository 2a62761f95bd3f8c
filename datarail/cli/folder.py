"""The working folder's line, for commands that need it to run."""

from __future__ import annotations

from datarail.errors import Terminal
from datarail.settings import Settings, embedded_ports


def running() -> Settings:
    """The folder's settings. Raises Terminal where its line is down: each client would find so by
    itself, some after ten seconds, and say it in words of its own."""
    settings = Settings.load()
    if is_down(settings):
        raise down(settings)
    return settings


def is_down(settings: Settings) -> bool:
    """Whether the line's servers are the folder's own, and stopped."""
    from deploy import line

    own = settings.kafka == f"127.0.0.1:{embedded_ports(settings.folder)['kafka']}"
    return settings.embedded and own and not line.parts(settings)


def down(settings: Settings) -> Terminal:
    """What is said of a line that does not run."""
    return Terminal(
        f"the line of {settings.folder} is not running",
        remedy="`datarail up` starts it; one that runs from another folder is reached from there, "
        "or with DATARAIL_FOLDER",
    )
