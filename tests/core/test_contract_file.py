"""A faulty contract is refused with file, line, field and what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from datarail.contract import CitizenId, Required, Secret
from datarail.contract_file import expand, read_contract, read_secret, read_stations, sound_stations
from datarail.errors import ContractError
from datarail.indicators import read_indicators
from datarail.themes import read_themes

GOOD = """\
department: {code: police, title: 市公安局}
system: {code: household}
source:
  url: postgresql://rail@127.0.0.1/police
resources:
  person:
    table: public.person
    key: id
    items:
      id: {type: integer}
      sfzh:
        checks: [required, {check: citizen_id, sex: xb}]
      xb: {codes: {男: "1", 女: "2"}}
"""


def station(folder: Path, text: str, name: str = "police.household") -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_good_contract(tmp_path: Path) -> None:
    contract = read_contract(station(tmp_path, GOOD))
    assert contract.station == "police.household"
    person = contract.resources["person"]
    assert (person.key, person.schema_name, person.table_name) == (["id"], "public", "person")
    assert person.items["sfzh"].checks == (Required(), CitizenId(sex="xb"))
    assert contract.source.managed and contract.source.snapshot.rows_per_second is None


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("key: id", "keys: id", 8, "resources.person.keys: unknown key"),
        ("type: integer", "type: int", 10, "resources.person.items.id.type"),
        ("sex: xb", "sexx: xb", 12, "sexx: unknown key"),
        ("[required,", "[requird,", 12, "requird"),
        ("sex: xb", "sex: nobody", 7, "nobody"),
        ("code: police", "code: Police", 1, "department.code"),
        ("    key: id", "    table: x\n    key: id", 8, "table stands twice"),
        ("department: {", "department: [", 1, "not valid YAML"),
    ],
)
def test_each_fault_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, told: str) -> None:
    file = station(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ContractError) as raised:
        read_contract(file)
    assert told in raised.value.message
    if told != "not valid YAML":
        assert f"{file}:{line}" in raised.value.message or "nobody" in told


def test_file_name_and_station_agree(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="rename it"):
        try:
            read_contract(station(tmp_path, GOOD, "police.other"))
        except ContractError as error:
            raise ContractError(str(error)) from None


def test_two_stations_must_not_share_a_clean_topic(tmp_path: Path) -> None:
    station(tmp_path, GOOD)
    station(tmp_path, GOOD.replace("code: household", "code: other"), "police.other")
    with pytest.raises(ContractError, match=r"clean\.police\.person"):
        read_stations(tmp_path)


def test_one_faulty_file_does_not_take_the_others_along(tmp_path: Path) -> None:
    station(tmp_path, GOOD)
    station(tmp_path, GOOD.replace("key: id", "keys: id"), "police.broken")
    heard: list[ContractError] = []
    assert list(sound_stations(tmp_path, heard.append)) == ["police.household"]
    assert len(heard) == 1 and "police.broken.yaml" in str(heard[0])


def test_secrets_come_from_environment_or_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAIL_PASSWORD", "from-env")
    (tmp_path / "secret").write_text("from-file\n")
    assert read_secret(Secret(env="RAIL_PASSWORD"), tmp_path) == "from-env"
    assert read_secret(Secret(file="secret"), tmp_path) == "from-file"
    assert expand("postgresql://${RAIL_PASSWORD}@x") == "postgresql://from-env@x"
    with pytest.raises(ContractError, match="NOT_SET"):
        expand("${NOT_SET}")
    with pytest.raises(ContractError, match="cannot be read"):
        read_secret(Secret(file="absent"), tmp_path)


def test_indicators_name_existing_items(tmp_path: Path) -> None:
    stations = {"police.household": read_contract(station(tmp_path, GOOD))}
    text = "indicators:\n  n: {title: t, station: police.household, resource: person, by: [xb]}\n"
    (tmp_path / "indicators.yaml").write_text(text, encoding="utf-8")
    assert read_indicators(tmp_path, stations)["n"].measure == "count"
    (tmp_path / "indicators.yaml").write_text(text.replace("[xb]", "[nobody]"), encoding="utf-8")
    with pytest.raises(ContractError, match="no item nobody"):
        read_indicators(tmp_path, stations)


def test_a_folder_may_replace_a_theme(tmp_path: Path) -> None:
    field = "{title: 名, authority: [a]}"
    own = f"themes:\n  credit: {{title: 信用, key: s, key_title: 主体, fields: {{name: {field}}}}}\n"
    (tmp_path / "themes.yaml").write_text(own, encoding="utf-8")
    themes = read_themes(tmp_path)
    assert len(themes) == 6
    assert themes["credit"].rank("name", "a") == 0
    assert themes["credit"].rank("name", "b") == 1
