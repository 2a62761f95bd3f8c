"""Every column of a car comes back, and those with the same memory travel once."""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datarail.arrow_car import pack, unpack

TEXT = st.one_of(st.none(), st.text(max_size=6))


@given(
    st.lists(TEXT, min_size=1, max_size=9), st.lists(st.integers(0, 3), min_size=1, max_size=12), st.data()
)
def test_what_goes_in_comes_out(values: list[str | None], picks: list[int], data: Any) -> None:
    sources = [pa.array(values, pa.utf8()), pa.array(values[::-1], pa.utf8())]
    sources += [pa.array(range(len(values)), pa.int64()), sources[0].cast(pa.large_utf8())]
    start = data.draw(st.integers(0, len(values) - 1))
    columns = [sources[pick] for pick in picks]
    car = pa.RecordBatch.from_arrays(columns, names=[f"c{at}" for at in range(len(columns))]).slice(start)
    back = unpack(pack(car))
    assert back.equals(car, check_metadata=True)
    # Another slice of the same memory is another column.
    both = pa.RecordBatch.from_arrays([car.column(0), columns[0].slice(0, car.num_rows)], names=["a", "b"])
    assert unpack(pack(both)).equals(both)


def test_the_same_memory_travels_once() -> None:
    written, other = pa.array(["张三"] * 5000), pa.array(["张三"] * 5000)
    twice = pa.RecordBatch.from_arrays([written, written], names=["_w_xm", "xm"])
    alike = pa.RecordBatch.from_arrays([written, other], names=["_w_xm", "xm"])
    assert len(pack(twice)) < 0.6 * len(pack(alike))
    stored = pa.ipc.open_stream(pack(twice)).read_next_batch()
    assert stored.schema.names == ["_w_xm"]
    assert orjson.loads(stored.schema.metadata[b"same"]) == [[1, "xm", "_w_xm"]]
    assert unpack(pack(twice)).column("xm").buffers()[2].address  # and is there again


@pytest.mark.parametrize("told", ["[[1]]", '[[1,"xm","_w_nobody"]]', '[["1","xm","_w_xm"]]', "7", "{"])
def test_metadata_that_does_not_hold_is_refused(told: str) -> None:
    car = pa.RecordBatch.from_arrays([pa.array(["张三"])], names=["_w_xm"])
    with pytest.raises(ValueError):
        unpack(pack(car.replace_schema_metadata({"same": told})))
