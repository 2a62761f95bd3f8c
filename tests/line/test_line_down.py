"""Commands in a folder whose line is not running."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_waiting import CONTRACT

from datarail.cli import app
from datarail.cli.folder import is_down
from datarail.settings import Settings
from deploy import line


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "stations").mkdir()
    (tmp_path / "stations" / "police.hukou.yaml").write_text(CONTRACT)
    monkeypatch.setenv("DATARAIL_FOLDER", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        "pause police.hukou",
        "resume police.hukou",
        "detach police.hukou",
        "subscribe clean.police.person",
        "lookup population 110101199003072316",
        "indicators",
        "history person 1",
        "quarantine",
        "audit",
        "rebuild themes --yes",
    ],
)
def test_each_command_says_how_to_start_it(
    folder: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app(words.split())
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert f"the line of {folder} is not running → `datarail up` starts it" in told
    assert (folder / "stations" / "police.hukou.yaml").exists()


def test_status_shows_what_there_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["status", "--json"])
    assert not ended.value.code
    document = json.loads(capsys.readouterr().out)
    assert document["parts"] == []
    assert [(row["resource"], row["state"]) for row in document["resources"]] == [("person", "down")]
    [note] = document["notes"]
    assert note.startswith(f"the line of {folder} is not running")


def test_servers_of_others_are_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_down(Settings.load(), [])
    for name, address in (("DATARAIL_KAFKA", "127.0.0.1:1"), ("DATARAIL_REDIS", "redis://127.0.0.1:1/0")):
        with monkeypatch.context() as other:
            other.setenv(name, address)
            assert not is_down(Settings.load(), [])
    for text in ("embedded: false\n", "clickhouse: {tcp_port: 1, http_port: 2}\n"):
        (folder / "datarail.yaml").write_text(text)
        assert not is_down(Settings.load(), [])


def test_a_line_that_runs_is_not_down(servers: Settings) -> None:
    assert servers.served_here
    assert not is_down(servers, line.parts(servers))
