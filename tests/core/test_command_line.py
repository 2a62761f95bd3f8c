"""What the command line needs before it knows what is asked of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PARTS = [
    "polars",
    "pyarrow",
    "numpy",
    "kafka",
    "confluent_kafka",
    "redis",
    "psycopg2",
    "connectors",
    "streams",
    "sinks",
    "deploy",
]


@pytest.mark.parametrize(
    ("words", "told"),
    [(["--help"], "subscribe"), (["audit", "--help"], "--timeout"), (["lookup"], "Missing argument")],
)
def test_help_and_mistakes_wait_for_no_part(words: list[str], told: str) -> None:
    program = (
        "import sys\nfrom datarail.cli import app\ntry:\n    app()\nfinally:\n"
        f"    print('loaded', *sorted(set({_PARTS}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert told in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "loaded"
