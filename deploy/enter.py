"""`python -m deploy.enter FILE NAME,NAME command …`: become a command, with secrets from a file.

The supervisor's configuration cannot carry every password (it has no way to write a quote within a
value), so a connector is entered through here. Only the standard library: this is on its way up.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(file: str, names: str, *command: str) -> None:
    """Replace this process; a variable that the file does not have stays as inherited."""
    noted = json.loads(Path(file).read_text()) if Path(file).exists() else {}
    chosen = {name: noted[name] for name in names.split(",") if name in noted}
    os.execve(command[0], command, os.environ | chosen)


if __name__ == "__main__":
    main(*sys.argv[1:])
