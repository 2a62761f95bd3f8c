"""The ClickHouse server process: the whole server lives in libchdb.so and is entered through ctypes.

Run as a script (`clickhouse_server.py LIBRARY CONFIG`) by the supervisor. The library's entry point
is clickhouse-local's; two SYSTEM statements open the ports, and a sleep that outlasts the machine
keeps it there. SIGTERM ends it like a crash, from which MergeTree recovers by design.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

#: All of the line shares one machine here. What history takes a moment later nobody notices; a
#: change on its way to an indicator must not wait for a merge.
NICENESS = 5

#: 3 s a row (the most a single sleep may take): some ninety years.
STAY = (
    "SELECT sleepEachRow(3) FROM numbers(1000000000) SETTINGS max_block_size = 1, max_threads = 1, "
    "function_sleep_max_microseconds_per_block = 0, max_execution_time = 0 FORMAT Null"
)


class Result(ctypes.Structure):
    """`local_result_v2` of chdb.h."""

    _fields_ = [
        ("buf", ctypes.c_void_p),
        ("len", ctypes.c_size_t),
        ("_vec", ctypes.c_void_p),
        ("elapsed", ctypes.c_double),
        ("rows_read", ctypes.c_uint64),
        ("bytes_read", ctypes.c_uint64),
        ("error_message", ctypes.c_char_p),
    ]


def serve(library: str, config: str) -> str:
    """Serve until killed; returns only when the server could not start, with its reason."""
    chdb = ctypes.CDLL(library)
    chdb.query_stable_v2.restype = ctypes.POINTER(Result)
    chdb.query_stable_v2.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
    arguments = [
        b"clickhouse",
        f"--config-file={config}".encode(),
        b"--log-level=warning",
        b"--query",
        f"SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; {STAY}".encode(),
    ]
    os.nice(NICENESS)
    # Python's own handler would wait for the call to return, which it never does.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    result = chdb.query_stable_v2(len(arguments), (ctypes.c_char_p * len(arguments))(*arguments))
    reason = result.contents.error_message if result else None
    return reason.decode(errors="replace") if reason else "it returned without a reason"


if __name__ == "__main__":
    sys.exit(f"ClickHouse stopped: {serve(sys.argv[1], sys.argv[2])}")
