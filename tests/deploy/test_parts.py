"""What the supervisor is told: programs, ports, configuration. No process is started here."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from datarail.errors import Terminal
from datarail.settings import DEFAULT_PORTS, Settings
from deploy import parts
from deploy.embedded import clickhouse_setup, install, kafka_server, ports, postgres_setup, redis_setup
from deploy.program import Program, supervisor_conf


def settings(folder: Path) -> Settings:
    return Settings.load(folder)


def programs(folder: Path, contracts: dict[str, str], **environment: str) -> dict[str, Program]:
    found = {name: parts.station(text) for name, text in contracts.items()}
    metrics = parts.assign_metrics({}, parts.names(found), 19100, lambda port: True)
    made = parts.programs(settings(folder), found, metrics, environment)
    return {program.name: program for program in made}


def test_another_station_changes_the_streams_and_no_other_program(tmp_path: Path) -> None:
    one = programs(tmp_path, {"police.hukou": "a"})
    two = programs(tmp_path, {"police.hukou": "a", "market.firms": "b"})
    assert set(two) - set(one) == {"connector-market.firms"}
    assert {name for name in one if one[name] != two[name]} == {"streams"}


def test_another_contract_changes_its_connector_and_the_streams(tmp_path: Path) -> None:
    one = programs(tmp_path, {"police.hukou": "a", "market.firms": "b"})
    two = programs(tmp_path, {"police.hukou": "a", "market.firms": "c"})
    assert {name for name in one if one[name] != two[name]} == {"streams", "connector-market.firms"}


def test_a_connector_gets_the_variables_of_its_contract_and_of_no_other(tmp_path: Path) -> None:
    text = "source:\n  url: postgresql://${HOST}/x\n  password: {env: 'SECRET'}\n"
    made = programs(tmp_path, {"a.b": text, "c.d": "x"}, HOST="h", SECRET="s", OTHER="o")
    assert "HOST,SECRET" in made["connector-a.b"].command
    assert "deploy.enter" not in made["connector-c.d"].command
    assert not [program for program in made.values() if {"s", "o"} & set(program.env.values())]
    other = programs(tmp_path, {"a.b": text, "c.d": "x"}, HOST="h", SECRET="changed", OTHER="o")
    assert {name for name in made if made[name] != other[name]} == {"connector-a.b"}


def test_another_password_of_a_server_is_another_program_for_every_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = programs(tmp_path, {"a.b": "x"})
    monkeypatch.setenv("DATARAIL_CLICKHOUSE_PASSWORD", "first")
    first = programs(tmp_path, {"a.b": "x"})
    monkeypatch.setenv("DATARAIL_CLICKHOUSE_PASSWORD", "second")
    second = programs(tmp_path, {"a.b": "x"})
    for name in before:
        assert len({repr(made[name]) for made in (before, first, second)}) == 3, name
    assert programs(tmp_path, {"a.b": "x"}) == second
    assert "first" not in repr(first) and "second" not in repr(second)


def test_entering_a_command_hands_it_its_variables_and_no_others(tmp_path: Path) -> None:
    noted = {"SECRET": 'it\'s "50%" ; # 半', "OTHER": "o"}
    (tmp_path / "environment.json").write_text(json.dumps(noted))
    show = "import os, sys; sys.stdout.write(os.environ['SECRET'] + str('OTHER' in os.environ))"
    words = [str(tmp_path / "environment.json"), "SECRET,MISSING", sys.executable, "-c", show]
    run = subprocess.run([sys.executable, "-m", "deploy.enter", *words], capture_output=True, text=True)
    assert run.stdout == noted["SECRET"] + "False"


def test_metrics_ports_stay_with_their_part() -> None:
    noted = {"streams": 19101, "gone": 19100}
    assigned = parts.assign_metrics(noted, ["streams", "new"], 19100, lambda port: port != 19102)
    assert assigned == {"streams": 19101, "gone": 19100, "new": 19103}


def test_a_taken_port_is_moved_and_no_port_is_given_twice() -> None:
    spare = iter([20001, 20001, 20002])
    settled = ports.settle({"a": 1, "b": 2, "c": 3}, lambda port: port not in (1, 2), lambda: next(spare))
    assert settled == {"a": 20001, "b": 20002, "c": 3}


def test_supervisor_reads_back_what_was_meant(tmp_path: Path) -> None:
    home = tmp_path / "a folder, 'quoted' 半"
    (home / "logs").mkdir(parents=True)
    (home / "run").mkdir()
    words = ("/bin/x y", str(home / "conf"), 'a "b"')
    program = Program(name="redis", command=words, folder=home, env={"A": '50% "of" it, 半', "B": str(home)})
    with pytest.raises(Terminal, match="cannot work in a folder with '%'"):
        supervisor_conf([program], home=tmp_path / "100%", socket=home, root=False, files=256)
    text = supervisor_conf([program], home=home, socket=home / "s", root=False, files=256)
    (home / "supervisord.conf").write_text(text)
    options = ServerOptions()
    options.realize(["-c", str(home / "supervisord.conf")])
    (read,) = options.process_group_configs[0].process_configs
    assert shlex.split(read.command) == list(words)
    assert read.environment == program.env
    assert (read.directory, read.stdout_logfile) == (str(home), str(home / "logs" / "redis.log"))


def test_every_server_listens_on_loopback_only(tmp_path: Path) -> None:
    kafka = kafka_server.properties(DEFAULT_PORTS, tmp_path)
    assert "0.0.0.0" not in kafka
    assert all("127.0.0.1" in line for line in kafka.splitlines() if "listeners=" in line)
    assert "<listen_host>127.0.0.1</listen_host>" in clickhouse_setup.config(DEFAULT_PORTS, tmp_path, 1)
    assert "bind 127.0.0.1\n" in redis_setup.config(1, tmp_path, 1)
    assert "listen_addresses = '127.0.0.1'\n" in postgres_setup.configuration(1)


def test_locks_name_a_version_and_a_hash_for_everything() -> None:
    listed = install.jars(install.KAFKA_LOCK.read_text())
    assert len(listed) > 40
    assert all(len(jar.sha256) == 64 for jar in listed)
    native = install.native_package(install.CLICKHOUSE_LOCK.read_text(), "x86_64")
    assert native.integrity.startswith("sha512-")


def test_an_unknown_machine_is_told_what_there_is() -> None:
    with pytest.raises(Terminal, match="no ClickHouse build for riscv64; there is one for x86_64"):
        install.native_package(install.CLICKHOUSE_LOCK.read_text(), "riscv64")


def test_a_file_that_was_tampered_with_is_not_installed(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"other")
    with pytest.raises(Terminal, match="is not the file it should be"):
        install._check("f", install.integrity(file), "sha512-x")
