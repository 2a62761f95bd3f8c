"""The sample city on a real PostgreSQL: prepared once, seeded fast, changing at the rate asked."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from test_numbers import is_citizen_id, is_credit_code

from datarail.settings import Settings
from deploy.embedded import postgres_setup
from examples.city import setup, wide
from examples.city.command import main
from examples.city.departments import DEPARTMENTS, sizes
from examples.city.load import load
from examples.city.session import Address, addresses
from examples.city.statements import KEEP

ROWS = 3000


@pytest.fixture(scope="module")
def owner(city: Settings) -> Address:
    return addresses(setup.application_url(city))


def ask(url: str, query: str) -> Any:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def counted(owner: Address) -> dict[str, int]:
    return {
        table.resource: ask(owner(department.database), f"SELECT count(*) FROM {table.name}")[0][0]
        for department in DEPARTMENTS
        for table in department.tables
    }


def capture(city: Settings, database: str) -> str:
    secret = (city.home / "secrets" / setup.CAPTURE_SECRET).read_text().strip()
    return addresses(setup.application_url(city))(database).replace(
        setup.application_url(city).split("//")[1].split("@")[0], f"{setup.CAPTURE}:{secret}"
    )


def test_prepared_once(city: Settings, owner: Address, servers: Settings) -> None:
    assert counted(owner) == sizes(ROWS)
    assert sorted(file.name for file in city.stations.iterdir()) == [
        "grid.events.yaml",
        "market.firms.yaml",
        "police.household.yaml",
    ]
    said: list[str] = []
    assert setup.prepare(city, postgres_setup.dsn(servers), rows=ROWS, progress=said.append) == [] == said
    assert counted(owner) == sizes(ROWS)


def test_the_line_may_read_and_replicate_and_nothing_else(city: Settings) -> None:
    for department in DEPARTMENTS:
        url = capture(city, department.database)
        for table in department.tables:
            ask(url, f"SELECT * FROM {table.name} LIMIT 1")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                ask(url, f"DELETE FROM {table.name} RETURNING 1")
        published = dict(ask(url, "SELECT pubname, pg_get_userbyid(pubowner)::text FROM pg_publication"))
        assert published == dict.fromkeys(setup.publications(department), setup.CAPTURE)
        slot = f"city_test_{department.code}"
        ask(url, f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
        ask(url, f"SELECT pg_drop_replication_slot('{slot}')")


def test_a_table_without_a_key_goes_on_taking_updates(owner: Address) -> None:
    with closing(psycopg2.connect(owner("police"))) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE hj.t_cz_log SET hs_ms = hs_ms")
        assert cursor.rowcount == sizes(ROWS)["access_log"]


def test_load_commits_what_it_says(owner: Address) -> None:
    before = counted(owner)
    loaded = load(600, owner, seconds=3, seed=5)
    after = counted(owner)
    assert loaded.total > 900
    inserted, deleted = loaded.changes["insert"], loaded.changes["delete"]
    assert sum(after.values()) - sum(before.values()) == inserted - deleted
    assert loaded.changes["update"] / loaded.total == pytest.approx(0.4, abs=0.1)
    assert inserted / loaded.total == pytest.approx(0.5, abs=0.1)
    assert set(loaded.resources) >= {"person", "event", "firm"}


def test_load_of_single_rows_commits_each(owner: Address) -> None:
    before = counted(owner)
    loaded = load(200, owner, seconds=2, transaction_rows=1, sessions=2)
    assert loaded.total == loaded.commits > 100
    inserted, deleted = loaded.changes["insert"], loaded.changes["delete"]
    assert sum(counted(owner).values()) - sum(before.values()) == inserted - deleted


def test_load_changes_keys_and_corrects_ids(owner: Address) -> None:
    police = owner("police")
    before = ask(police, "SELECT rybh, sfzh FROM hj.t_ry_jbxx")
    load(3000, owner, seconds=4, seed=6)
    moved = ask(police, "SELECT count(*) FROM hj.t_hcy WHERE cyxh > 50")[0][0]
    replaced = ask(police, "SELECT count(*) FROM hj.t_jzz WHERE jzzbh LIKE '%B'")[0][0]
    after = dict(ask(police, "SELECT rybh, sfzh FROM hj.t_ry_jbxx"))
    corrected = [after[key] for key, old in before if after.get(key, old) != old]
    assert moved > 0 and replaced > 0 and corrected
    assert all(is_citizen_id(number) for number in corrected)
    kept = ask(police, f"SELECT count(*) FROM hj.t_ry_jbxx WHERE substr(rybh, 2)::bigint < {KEEP}")
    assert kept == [(KEEP,)]


def test_load_stays_below_its_ceiling(owner: Address) -> None:
    rows = sum(counted(owner).values())
    load(1500, owner, seconds=3, ceiling=rows // 2)
    assert sum(counted(owner).values()) < rows * 1.05


def test_load_waits_for_a_source_that_is_away(owner: Address, servers: Settings) -> None:
    stop = threading.Event()
    results = []
    loading = threading.Thread(target=lambda: results.append(load(300, owner, stop=stop)))
    loading.start()
    time.sleep(1)
    ended = ask(
        postgres_setup.dsn(servers),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'city'",
    )
    time.sleep(3)
    stop.set()
    loading.join(20)
    assert len(ended) == 3 and results[0].total > 400


def test_by_hand(
    owner: Address,
    servers: Settings,
    city: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = setup.application_url(city)

    def run(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["city", *words, "--url", url])
        return main()

    monkeypatch.setenv("DATARAIL_FOLDER", str(city.folder))
    (city.stations / "grid.events.yaml").unlink()
    monkeypatch.setattr("sys.argv", ["city", "prepare", "--url", postgres_setup.dsn(servers)])
    assert main() == 0
    assert capsys.readouterr().out == "stations/grid.events.yaml written\n"
    assert run("schema") == 0  # all there: nothing to do
    assert run("seed", "--rows", "18") == 1  # rows are there already
    assert "duplicate key" in capsys.readouterr().err
    assert run("load", "--rate", "50", "--seconds", "0.5") == 0


def test_seed_tells_rows_and_faults(
    city: Settings, capsys: pytest.CaptureFixture[str], owner: Address
) -> None:
    for department in DEPARTMENTS:
        with closing(psycopg2.connect(owner(department.database))) as connection, connection:
            tables = ", ".join(table.name for table in department.tables)
            connection.cursor().execute(f"TRUNCATE {tables}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["city", "seed", "--rows", "20000", "--url", setup.application_url(city)])
        began = time.monotonic()
        assert main() == 0
        assert time.monotonic() - began < 20  # two seconds on a machine with nothing else to do
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == sizes(20_000) == counted(owner)
    without_name = ask(owner("police"), "SELECT count(*) FROM hj.t_ry_jbxx WHERE xm IS NULL")[0][0]
    assert told["faults"]["person"]["missing_required"] == without_name > 0
    assert 150 < sum(told["held"].values()) < 400


def test_wide_tables_hold_valid_numbers(servers: Settings, tmp_path: Path) -> None:
    superuser = addresses(postgres_setup.dsn(servers))
    with closing(psycopg2.connect(superuser("postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE city_wide")
    try:
        url = superuser("city_wide")
        made = wide.make_resources(url, 7, 500)
        assert [table.shape for table in made[:4]] == ["resident", "firm", "event", "resident"]
        residents, firms, events, same = made[:4]
        ids = dict(ask(url, f"SELECT rybh, sfzh FROM {residents.name}"))
        wrong = {key for key, number in ids.items() if not is_citizen_id(number)}
        assert wrong == {f"R{number:010d}" for number in range(7, 500, wide.BAD_EVERY)}
        codes = dict(ask(url, f"SELECT pripid, uniscid FROM {firms.name}"))
        assert {key for key, code in codes.items() if not is_credit_code(code)} == {
            f"F{number:010d}" for number in range(7, 500, wide.BAD_EVERY)
        }
        assert ask(url, f"SELECT count(*) FROM {events.name} WHERE sjlx IS NULL") == [(5,)]
        assert dict(ask(url, f"SELECT rybh, sfzh FROM {same.name}")) == ids
        assert ids != dict(ask(url, f"SELECT rybh, sfzh FROM {made[6].name}"))
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            for table in made:
                for statement, rows in [
                    (wide.insert_sql(table, 500, 20), 20),
                    (wide.update_sql(table, 490, 25, version=3), 25),
                    (wide.delete_sql(table, 0, 10), 10),
                ]:
                    cursor.execute(statement)
                    assert cursor.rowcount == rows, statement
    finally:
        with closing(psycopg2.connect(superuser("postgres"))) as connection:
            connection.autocommit = True
            connection.cursor().execute("DROP DATABASE city_wide WITH (FORCE)")
