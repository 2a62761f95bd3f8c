"""ClickHouse: its configuration for a small machine, its program, its health."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from datarail.errors import Transient
from datarail.settings import Settings
from deploy.embedded import clickhouse_server
from deploy.embedded.install import Software
from deploy.program import Program


def config(ports: Mapping[str, int], data: Path, memory: int) -> str:
    """config.xml. `memory` in bytes caps the server. No *_log tables are named, so none are kept."""
    options: dict[str, object] = {
        "path": f"{data}/",
        "listen_host": "127.0.0.1",
        "tcp_port": ports["clickhouse_tcp"],
        "http_port": ports["clickhouse_http"],
        "max_server_memory_usage": memory,
        "mark_cache_size": 128 * 1024**2,
        "uncompressed_cache_size": 0,
        "index_mark_cache_size": 16 * 1024**2,
        "mmap_cache_size": 100,
        "compiled_expression_cache_size": 16 * 1024**2,
        "max_concurrent_queries": 200,
        "max_connections": 400,
        "keep_alive_timeout": 60,
        # Merges: two at a time leave the queries a core.
        "background_pool_size": 2,
        "background_merges_mutations_concurrency_ratio": 2,
        "background_schedule_pool_size": 4,
        "background_common_pool_size": 2,
        "background_move_pool_size": 1,
        "background_fetches_pool_size": 1,
        "background_buffer_flush_schedule_pool_size": 1,
        "background_message_broker_schedule_pool_size": 2,
        "background_distributed_schedule_pool_size": 1,
        "asynchronous_metrics_update_period_s": 60,
        "allow_no_password": 1,
    }
    lines = [f"  <{name}>{escape(str(value))}</{name}>" for name, value in options.items()]
    merge_tree = {
        # The pool is small: without these, merging refuses large parts and mutations outright.
        "number_of_free_entries_in_pool_to_lower_max_size_of_merge": 1,
        "number_of_free_entries_in_pool_to_execute_mutation": 1,
        "number_of_free_entries_in_pool_to_execute_optimize_entire_partition": 1,
        "old_parts_lifetime": 60,
        # Statistics of every column, for plans of joins that nobody asks for: a tenth of the work.
        "auto_statistics_types": "",
    }
    lines.append("  <merge_tree>")
    lines += [f"    <{name}>{value}</{name}>" for name, value in merge_tree.items()]
    lines.append("  </merge_tree>")
    return "\n".join(["<clickhouse>", *lines, "</clickhouse>", ""])


def memory_cap() -> int:
    """A third of the machine, 1 to 8 GB."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(max(machine // 3, 1024**3), 8 * 1024**3)


def prepare(settings: Settings, ports: Mapping[str, int], software: Software) -> Program:
    """Write the configuration; returns the program."""
    data, conf = settings.home / "data" / "clickhouse", settings.home / "conf" / "clickhouse.xml"
    data.mkdir(parents=True, exist_ok=True)
    conf.write_text(config(ports, data, memory_cap()))
    script = Path(clickhouse_server.__file__)
    return Program(
        name="clickhouse",
        command=(sys.executable, str(script), str(software.libchdb), str(conf)),
        folder=data,
    )


def check(settings: Settings) -> None:
    """`SELECT 1` over the native protocol and over HTTP; raises Transient while either fails."""
    from clickhouse_driver import Client
    from clickhouse_driver.errors import Error

    there = settings.clickhouse
    try:
        with urllib.request.urlopen(f"{there.url}/ping", timeout=5, context=there.context()) as answer:
            answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise Transient(f"no answer over HTTP: {error!r}", part="clickhouse") from None
    password = there.password.get_secret_value()
    client = Client(
        there.host,
        there.tcp_port,
        user=there.user,
        password=password,
        secure=there.https,
        ca_certs=str(there.ca_file) if there.ca_file else None,
        connect_timeout=3,
        send_receive_timeout=5,
    )
    try:
        client.execute("SELECT 1")
    except (Error, OSError, EOFError) as error:
        raise Transient(f"no answer: {error!r}", part="clickhouse") from None
    finally:
        client.disconnect()
