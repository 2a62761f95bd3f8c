"""A ClickHouse server with a user who has a password, behind TLS on both ports.

The embedded server is a library, which opens no port for TLS itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

from certificates import Authority
from front import Front
from pydantic import SecretStr
from started import Started

from datarail.settings import DEFAULT_PORTS, ClickHouse, Settings
from deploy.embedded import clickhouse_server, clickhouse_setup
from deploy.embedded.install import install
from deploy.embedded.ports import any_free
from sinks import clickhouse

USER, PASSWORD = "rail", "it's 50% secret; #2"

_PERSON = "<networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>"
#: The library's own session is the default user's, who can have no password.
_USERS = f"""<clickhouse>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users>
    <default><password></password>{_PERSON}</default>
    <{USER}><password>{PASSWORD}</password>{_PERSON}</{USER}>
  </users>
</clickhouse>
"""


class Server:
    """One process. secured: its address, as `clickhouse:` of datarail.yaml would give it."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        software = install(Settings.load(folder), lambda line: None)
        self.plain = ClickHouse(tcp_port=any_free(), http_port=any_free())
        data, conf, users = folder / "clickhouse", folder / "clickhouse.xml", folder / "users.xml"
        data.mkdir()
        users.write_text(_USERS)
        ports = {"clickhouse_tcp": self.plain.tcp_port, "clickhouse_http": self.plain.http_port}
        conf.write_text(
            clickhouse_setup.config(DEFAULT_PORTS | ports, data, 1 << 30).replace(
                "</clickhouse>", f"  <users_config>{users}</users_config>\n</clickhouse>"
            )
        )
        command = (sys.executable, clickhouse_server.__file__, str(software.libchdb), str(conf))
        self._started = Started(command, folder / "clickhouse.log")
        self._started.wait(lambda: clickhouse.ClickHouse(self.plain).rows("SELECT 1"))
        # This build ends where a client is gone before its connection is looked at (docs/architecture.md).
        self._started.keep()
        own = authority.issue("clickhouse")
        self._fronts = [Front(own, port) for port in (self.plain.http_port, self.plain.tcp_port)]
        self.secured = ClickHouse(
            http_port=self._fronts[0].port,
            tcp_port=self._fronts[1].port,
            user=USER,
            password=SecretStr(PASSWORD),
            https=True,
            ca_file=authority.file,
        )

    def stop(self) -> None:
        for front in self._fronts:
            front.stop()
        self._started.stop()
