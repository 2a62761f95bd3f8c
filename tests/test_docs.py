"""What the documents say is so: commands and paths exist, both READMEs agree, the example runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import typer.main
import yaml
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from datarail.columns import raw_schema
from datarail.kafka_access import KafkaSecurity
from datarail.position import Identity, Lane
from datarail.settings import SECRETS, Settings
from datarail.train import CarEntry, Manifest, encode
from examples.city.departments import DEPARTMENTS
from examples.city.draw import DEFAULT_SEED, Draw

HERE = Path(__file__).parent.parent
READMES = ("README.md", "README.zh.md")
DOCUMENTS = (*READMES, "docs/architecture.md", "docs/train.md")


def text_of(document: str) -> str:
    return (HERE / document).read_text(encoding="utf-8")


def commands(document: str) -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", text_of(document), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def cli() -> dict[str, Any]:
    from datarail.cli import app

    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("document", READMES)
def test_commands_exist(document: str, cli: dict[str, Any]) -> None:
    told = commands(document)
    assert ["make", "up"] in told and ["make", "test"] in told
    targets = set(re.findall(r"^(\w+):", text_of("Makefile"), re.MULTILINE))
    for words in told:
        if words[0] == "make":
            assert words[1] in targets, words
            continue
        assert words[0] == ".venv/bin/datarail" and words[1] in cli, words
        # Typer's own parsing: options that do not exist and arguments too many are refused.
        cli[words[1]].make_context(words[1], words[2:])


def test_every_command_is_in_the_readme(cli: dict[str, Any]) -> None:
    said = text_of("README.md")
    for name in cli:
        assert re.search(rf"datarail {name}\b|`{name}`|make {name}\b", said), f"{name} is not mentioned"


def test_both_readmes_tell_the_same() -> None:
    english, chinese = (text_of(document) for document in READMES)
    assert commands("README.md") == commands("README.zh.md")
    interfaces = [re.findall(r'`(\{".*\})`', text) for text in (english, chinese)]
    assert interfaces[0] == interfaces[1] and len(interfaces[0]) == 3
    assert english.count("\n## ") == chinese.count("\n## ")


def test_the_clusters_example_is_as_the_settings_want_it() -> None:
    blocks = [re.findall(r"```yaml\n(.*?)```", text_of(document), re.DOTALL) for document in READMES]
    assert blocks[0] == blocks[1] and len(blocks[0]) == 1
    said = yaml.safe_load(blocks[0][0])
    for block in (said["kafka_security"], said["clickhouse"]):
        block.pop("ca_file")  # it is not on this machine
    settings = Settings.model_validate({"folder": HERE, **said, "kafka_security": {"protocol": "SSL"}})
    assert set(said["kafka_security"]) <= set(KafkaSecurity.model_fields)
    assert settings.clickhouse.url == "https://clickhouse.city.example:8443"
    for document in READMES:
        assert set(SECRETS) <= set(re.findall(r"DATARAIL_\w+", text_of(document)))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_exist(document: str) -> None:
    folder = (HERE / document).parent
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text_of(document))
    for link in links:
        assert (folder / link).exists(), link
    if document == "docs/architecture.md":
        for path in re.findall(r"^\| `([\w/]+)` \|", text_of(document), re.MULTILINE):
            assert (HERE / path).is_dir(), path


def test_the_people_looked_up_are_in_the_city() -> None:
    index = np.arange(2, dtype=np.uint64)
    rows = {
        table.resource: table.rows(Draw(DEFAULT_SEED), index).frame
        for department in DEPARTMENTS
        for table in department.tables
    }
    person = next(words[3] for words in commands("README.md") if words[2:3] == ["population"])
    firm = next(words[3] for words in commands("README.md") if words[2:3] == ["legal_entity"])
    assert person in rows["person"]["sfzh"].to_list()
    assert person == rows["firm"]["lerepid"][0] == rows["event"]["SBRSFZH"][0]
    assert firm == rows["firm"]["uniscid"][0]
    assert "R0000000001" in rows["person"]["rybh"].to_list()


def test_the_readers_example_reads_a_train(servers: Settings, tmp_path: Path) -> None:
    topic = f"docs.{uuid.uuid4().hex[:8]}"  # no sink must take it up
    admin = KafkaAdminClient(bootstrap_servers=servers.kafka)
    admin.create_topics([NewTopic(topic, 1, 1)])
    admin.close()
    manifest, car = a_train()
    value, headers = encode(manifest, [car, car])
    producer = KafkaProducer(bootstrap_servers=servers.kafka)
    for body, about in ((value, headers), encode(Manifest("docs.example", 1, 0), [])):
        producer.send(topic, value=body, headers=about, partition=0).get(20)
    producer.close()
    script = tmp_path / "read.py"
    blocks = re.findall(r"```python\n(.*?)```", text_of("docs/train.md"), re.DOTALL)
    assert len(blocks) == 1
    script.write_text(blocks[0], encoding="utf-8")
    imported = set(re.findall(r"^(?:import|from) (\w+)", blocks[0], re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) == {"pyarrow", "kafka"}
    done = subprocess.run(
        [sys.executable, str(script), topic],
        env={**os.environ, "DATARAIL_KAFKA": servers.kafka, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "0 0 person lane 0 100 rows {'c': 100}" and len(lines) == 6
    assert lines[1].strip() == "c 1.4711.0.0 {'rybh': 'R0', 'xm': '王伟'}"


def test_the_format_page_names_every_column_and_field() -> None:
    said = text_of("docs/train.md")
    columns = [name for name in raw_schema([]).names if name.startswith("_")]
    for name in [*columns, "_w_<item>", "_key", "_held", "_findings"]:
        assert f"`{name}`" in said, name
    for name in (*Manifest.__slots__, *CarEntry.__slots__):
        assert re.search(rf"\b{name}\b", said), name


def a_train() -> tuple[Manifest, pa.RecordBatch]:
    rows = 100
    same = {"_op": ord("c"), "_lane": 0, "_epoch": 1, "_pos": 4711, "_part": 0, "_xid": 7}
    schema = raw_schema(["rybh", "xm"])
    columns = []
    for field in schema:
        if field.name in same:
            columns.append(pa.array([same[field.name]] * rows, field.type))
        elif field.name in ("_seq", "_idx"):
            columns.append(pa.array(range(rows), field.type))
        elif field.name == "_commit":
            columns.append(pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * rows, field.type))
        elif field.name == "_unchanged":
            columns.append(pa.nulls(rows, field.type))
        else:
            columns.append(pa.array([f"R{n}" if field.name == "_w_rybh" else "王伟" for n in range(rows)]))
    entries = [CarEntry("person", Lane.STREAM, rows, {"c": rows}) for _ in range(2)]
    manifest = Manifest(
        "docs.example", 1, 0, {Lane.STREAM: (0, rows - 1)}, entries, Identity(1, 4711, rows - 1)
    )
    return manifest, pa.RecordBatch.from_arrays(columns, schema=schema)
