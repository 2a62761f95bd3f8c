"""`python -m deploy up|down|status|reload|clean`: the line without the command-line package."""

from __future__ import annotations

import argparse
import sys

from datarail.errors import RailError
from datarail.settings import Settings
from deploy import line


def say(text: str) -> None:
    """One line of progress, for people."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run one command; errors are one line."""
    parser = argparse.ArgumentParser(prog="python -m deploy", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status", "reload", "clean"])
    parser.add_argument("--only-servers", action="store_true", help="start no connectors, streams, sinks")
    asked = parser.parse_args()
    try:
        settings = Settings.load()
        if asked.command == "up":
            settings = line.up(settings, asked.only_servers, say)
        elif asked.command == "down":
            line.down(settings, say)
        elif asked.command == "reload":
            line.reload(settings, say)
        elif asked.command == "clean":
            line.clean(settings, say)
        for part in line.parts(settings) if asked.command in ("up", "status") else []:
            print(f"{part.name:32} {part.state:9} {part.pid or '-':>8} {part.rss_mb:8.1f} MB")
    except RailError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
