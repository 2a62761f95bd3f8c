"""Redis (Valkey): every write on disk before it is answered, nothing evicted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from datarail.errors import Transient
from datarail.settings import Settings
from deploy.embedded.install import Software
from deploy.program import Program

#: The wheel's server uses glibc's malloc, which gives memory back and asks for it again with every
#: large script call; kept, a script of many HSETs took 5–12 µs a row instead of 12–17.
MALLOC = ":".join(
    f"glibc.malloc.{name}={value}"
    for name, value in (
        ("tcache_count", 10_000),
        ("mmap_threshold", 256 << 20),
        ("trim_threshold", 256 << 20),
        ("top_pad", 16 << 20),
    )
)


def config(port: int, data: Path, memory: int) -> str:
    """redis.conf. appendfsync always, because the sinks' local stores trust what Redis has answered."""
    options = {
        "bind": "127.0.0.1",
        "port": port,
        "dir": f'"{data}"',
        "daemonize": "no",
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-use-rdb-preamble": "yes",
        # It would save a quarter of the disk for a half more CPU whenever the file is written anew.
        "rdbcompression": "no",
        # Writing 260 MB anew takes 0.8 s of CPU and holds up what is to be on disk meanwhile: once for two
        # such logs, not for one.
        "auto-aof-rewrite-percentage": 200,
        # Some two seconds of loading after a crash. At 64 MB a few thousand records, changed again and again,
        # were written anew every hundred thousand changes: 9 µs of CPU a change instead of 7.
        "auto-aof-rewrite-min-size": "512mb",
        # A contribution to a golden record has some 300 bytes, and a record a handful of them: kept in one
        # piece they take a tenth less memory and CPU than as a hash table.
        "hash-max-listpack-value": 1024,
        "save": '""',
        "maxmemory": memory,
        "maxmemory-policy": "noeviction",
        "tcp-keepalive": 60,
        "databases": 4,
        # It would write over the environment by which `down` knows an orphan.
        "set-proc-title": "no",
    }
    return "".join(f"{name} {value}\n" for name, value in options.items())


def prepare(settings: Settings, ports: Mapping[str, int], software: Software) -> Program:
    """Write the configuration; returns the program."""
    data, conf = settings.home / "data" / "redis", settings.home / "conf" / "redis.conf"
    data.mkdir(parents=True, exist_ok=True)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    conf.write_text(config(ports["redis"], data, machine // 4))
    command = (str(software.valkey), str(conf))
    return Program(name="redis", command=command, folder=data, env={"GLIBC_TUNABLES": MALLOC})


def check(settings: Settings) -> None:
    """PING; raises Transient while Redis does not answer or is still loading its data."""
    from redis import Redis
    from redis.exceptions import RedisError

    client = Redis.from_url(settings.redis, socket_timeout=3, socket_connect_timeout=3)
    try:
        client.ping()
    except (RedisError, OSError) as error:
        raise Transient(f"no answer: {error!r}", part="redis") from None
    finally:
        client.close()
