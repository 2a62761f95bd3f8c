"""The command line. Each command is a few lines over the part that does the work.

It imports that part itself: all parts together take more than a second, which --help, a mistake, or a
command that needs a few of them, should not wait for.
"""

from __future__ import annotations

from datarail.cli import line, look, proof, station
from datarail.cli.screen import Rail

app = Rail(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="datarail 数据高铁: the real-time data rail of a city.",
)

for module in (line, station, look, proof):
    module.add_to(app)
