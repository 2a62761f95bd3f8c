"""The benchmark's own arithmetic, without servers."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import orjson
import pytest
import yaml
from kafka import TopicPartition

from bench import svg
from bench.backlog import Backlog, Extent
from bench.charts import charts
from bench.details import Details
from bench.document import filled, plots
from bench.figures import Figures
from bench.hops import Sample, covers, reached
from bench.latency import Latency, watched
from bench.load import update_script
from bench.profiling import hottest
from bench.rail import indicators_text
from bench.report import Report, quantile, syncs
from bench.subscriber import columns, position
from bench.tables import blocks
from examples.city.wide import tables

A, B = TopicPartition("raw.x.y", 0), TopicPartition("train.x.y", 0)


def test_a_figure_has_its_median_and_spread() -> None:
    report = Report()
    for rate in (30.0, 10.0, 20.0):
        report.add("drain", "rows/s", rate)
    document = report.document()
    assert document["figures"] == [
        {"name": "drain", "unit": "rows/s", "median": 20.0, "min": 10.0, "max": 30.0, "runs": 3}
    ]
    assert document["machine"]["cores"] >= 1
    assert "drain" in report.summary()


def test_what_the_disk_takes_is_read(tmp_path: Path) -> None:
    taken = syncs(tmp_path, 3)
    assert len(taken) == 3
    assert min(taken) > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_quantile_is_one_of_the_values(share: float, expected: float) -> None:
    assert quantile([float(n) for n in range(100, 0, -1)], share) == expected


def test_a_hop_is_done_when_it_has_what_the_end_has() -> None:
    samples = [
        Sample(1.0, {A: 1}, {B: 0}, 0, {"history": {}}),
        Sample(2.0, {A: 5}, {B: 2}, 70, {"history": {}}),
        Sample(3.0, {A: 5}, {B: 4}, 90, {"history": {B: 2}}),
        Sample(4.0, {A: 5}, {B: 4}, 90, {"history": {B: 4}}),
    ]
    assert reached(samples) == {"raw": 2.0, "train": 3.0, "clean": 3.0, "history": 4.0}


def test_a_partition_without_an_offset_covers_nothing_but_an_empty_one() -> None:
    assert covers({}, {A: 0})
    assert not covers({}, {A: 1})
    assert covers({A: 2}, {A: 1})


class Recorder:
    """A connection that keeps what is executed and says how many rows it touched."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.rowcount = 0

    def cursor(self) -> Recorder:
        return self

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, statement: str) -> None:
        self.said.append(statement)
        self.rowcount = {"INSERT": 300, "UPDATE": 600, "DELETE": 100}.get(statement.split()[0], -1)


def test_a_mixed_backlog_keeps_within_the_rows_there_are() -> None:
    made = tables(2)
    backlog, connection = Backlog(made, 5000), Recorder()
    assert backlog.mixed(connection, 4000) == 4000
    assert connection.said.count("COMMIT") == 4
    for table in made:
        extent = backlog.extents[table.name]
        assert (extent.first, extent.end) == (200, 5600)


def test_backlogs_of_one_kind_move_the_rows_there_are() -> None:
    made = tables(2)
    backlog, connection = Backlog(made, 5000), Recorder()
    assert backlog.inserts(connection, 600, 300) == 600
    assert backlog.deletes(connection, 200, 100) == 200
    assert backlog.updates(connection, 1200, 1000) == 1200
    assert [(each.first, each.end) for each in backlog.extents.values()] == [(100, 5300)] * 2


def test_a_skewed_backlog_is_nine_tenths_the_first_tables() -> None:
    made = tables(10)
    connection = Recorder()
    Backlog(made, 5000, skewed=True).updates(connection, 60_000, 1000)
    said = [each for each in connection.said if each.startswith("UPDATE")]
    assert sum(made[0].name in each for each in said) == 0.9 * len(said)


def test_figures_of_one_workload_are_added_to_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    for name, value in (("a", 1.0), ("b", 2.0), ("a", 3.0)):
        report = Report()
        report.add(name, "rows/s", value)
        report.write(file, into=True)
    figures = orjson.loads(file.read_bytes())["figures"]
    assert {each["name"]: each["median"] for each in figures} == {"a": 3.0, "b": 2.0}
    report.write(file)
    assert len(orjson.loads(file.read_bytes())["figures"]) == 1


def test_every_table_has_an_indicator_of_its_own() -> None:
    indicators = yaml.safe_load(indicators_text(tables(5)))["indicators"]
    assert [each["resource"] for each in indicators.values()] == [table.name for table in tables(5)]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_steady_load_updates_one_row_by_its_key(number: int) -> None:
    table = tables(3)[number]
    script = update_script(table, Extent(7, 100))
    assert "random(7, 99)" in script
    assert script.count("UPDATE") == 1
    assert f"WHERE {table.key} = " in script


def test_a_steady_load_of_larger_commits_updates_whole_blocks() -> None:
    script = update_script(tables(1)[0], Extent(150, 1000), 100)
    assert "random(2, 9) * 100" in script
    assert ":n + 99" in script


def test_the_subscriber_reads_one_resource_of_each_shape() -> None:
    assert {table.name for table in watched(tables(32))} == {"w01_resident", "w02_firm", "w03_event"}


def test_the_position_is_the_sources_not_a_value_that_looks_like_it() -> None:
    value = orjson.dumps({"after": {"bz": ',"pos":1,'}, "source": {"epoch": 1, "pos": 77, "lsn": 77}})
    assert position(value) == 77


def test_columns_of_nothing_are_empty() -> None:
    assert [len(each) for each in columns([])] == [0, 0]
    assert [each.tolist() for each in columns([(1, 2), (3, 4)])] == [[1, 3], [2, 4]]


def test_histograms_of_several_runs_add_up() -> None:
    details = Details()
    for _ in range(2):
        details.latency("x", Latency(1000, 3, {"raw": np.array([0.01, 5.0, 1e6])}, {}, 1.0, {}))
    assert sum(details.histograms["x"]["raw"]) == 6


def test_a_profile_leaves_waiting_out() -> None:
    stacks = (
        "main (a.py:1);work (a.py:2) 30\nmain (a.py:1);work (a.py:3) 10\nmain (a.py:1);rest (a.py:9) 60\n"
    )
    stacks += "main (a.py:1);Condition.wait (threading.py:327) 900\n"
    assert hottest(stacks) == "1.0 s at work: rest (a.py) 60%, work (a.py) 40%"


def test_the_document_takes_its_figures_from_the_file() -> None:
    report = Report()
    for name, unit in (("one.drain.landed", "rows/s"), ("one.drain.cpu.kafka", "CPU s per million rows")):
        report.add(name, unit, 1234.0, 5678.0)
    report.add("one.latency.1000.raw.p50", "ms", 7.25)
    report.add("wide3.latency.100.beside.probe", "% of a core", 2.0)
    report.add("wide32.latency.100.beside.probe", "% of a core", 3.0)
    figures = Figures(report.document())
    made = blocks(figures, None)
    assert "1,234 – 5,678" in made["throughput"]
    assert "| one, 1,000 rows/s → raw train | 7.25 |" in made["latency"]
    assert "| % of a core | wide3, 100 rows/s | wide32, 100 rows/s |" in made["beside"]
    assert "| probe | 2 | 3 |" in made["beside"]
    text = "a\n<!-- figures latency -->\nold\n<!-- end -->\n<!-- figures peers -->\nkept\n<!-- end -->\n"
    assert "old" not in filled(text, made)
    assert "kept" in filled(text, made)


def test_charts_are_well_formed() -> None:
    drawn = [
        svg.stacked("cost <a&b>", "µs", {"one": {"kafka": 1.0, "redis": 2.0}}),
        svg.bars("none", "rows/s", {}),
        svg.histograms("latency", "ms", [1.0, 2.0, 4.0, 8.0], {"raw train": [0, 3, 1], "none": [0, 0, 0]}),
        svg.histograms("nothing", "ms", [1.0, 2.0, 4.0], {}),
        svg.course("behind", "rows", {"history": [(0.0, 0.0), (5.0, 1234.0)], "nothing": []}),
        svg.course("nothing", "rows", {}),
    ]
    for chart in [*drawn, svg.above(*drawn)]:
        assert ElementTree.fromstring(chart.text).tag.endswith("svg")


def test_what_was_measured_is_drawn_and_shown() -> None:
    report = Report()
    for name in ("growth.resources.10.drain.landed", "growth.workers.history.1", "growth.workers.history.2"):
        report.add(name, "rows/s", 1000.0)
    report.add("growth.workers.history.ratio", "times", 1.0)
    details = Details()
    details.latency("x.latency.1000", Latency(1000, 3, {"raw": np.array([1.0, 5.0])}, {}, 1.0, {}))
    details.course("x.outage.sink-history", [(0.0, 3), (1.0, 0)])
    drawn = charts(Figures(report.document()), details.document(), None)
    assert {"x.latency.1000.svg", "outage.svg", "growth-resources.svg", "growth-workers.svg"} <= set(drawn)
    assert "backpressure.svg" not in drawn
    shown = plots(sorted(drawn))
    assert "benchmark/growth-resources.svg" in shown["plots-growth"]
    assert shown["plots-peers"] == ""
