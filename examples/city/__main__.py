"""`python -m examples.city prepare|schema|seed|load`."""

import os
import sys

# Its blocks of rows are small: more threads of Polars' would only take cores from the servers.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

from examples.city.command import main

sys.exit(main())
