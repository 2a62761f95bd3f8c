"""`up` on servers of others, one of which is away."""

from __future__ import annotations

from pathlib import Path

from datarail.cli.standing import wait_flowing
from datarail.settings import ClickHouse, Settings
from deploy.embedded.ports import any_free

CONTRACT = """
department: {code: police}
system: {code: hukou}
source: {kind: postgres, url: "postgresql://reader@127.0.0.1:1/hukou", password: {file: password}}
resources:
  person:
    table: person
    key: id
    items:
      id: {type: integer}
"""


def test_what_keeps_the_first_changes_waiting_is_told(servers: Settings, tmp_path: Path) -> None:
    (tmp_path / "stations").mkdir()
    (tmp_path / "password").write_text("not asked for")
    (tmp_path / "stations" / "police.hukou.yaml").write_text(CONTRACT)
    away = ClickHouse(tcp_port=any_free(), http_port=any_free())
    settings = Settings.load(tmp_path).model_copy(update={"kafka": servers.kafka, "clickhouse": away})
    said: list[str] = []
    assert not wait_flowing(settings, ["police.hukou"], said.append, seconds=12)
    assert "waiting for the first changes of police.hukou …" in said
    assert [each for each in said if f"ClickHouse at {away.url} does not answer" in each], said
