"""Raw cars and trains for these tests, as a connector would make them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from datarail.columns import META, raw_schema
from datarail.contract import Contract, Resource
from datarail.position import Identity, Lane
from datarail.small_car import COMMIT as COMMIT_AT
from datarail.small_car import ITEMS, UNCHANGED, SmallCar, shape
from datarail.train import CarEntry, Manifest, encode
from streams.rules.citizen_id import check_character

NOW = datetime(2026, 5, 20, 4, 0, tzinfo=UTC)
COMMIT = 1_777_000_000_000_000

PERSON = Resource.model_validate(
    {
        "table": "public.person",
        "key": "id",
        "items": {
            "id": {"type": "integer", "checks": ["required"]},
            "citizen_id": {
                "title": "公民身份号码",
                "checks": ["required", {"check": "citizen_id", "sex": "sex", "birth": "birth"}],
            },
            "name": {"title": "姓名", "checks": ["required", {"check": "length", "min": 1, "max": 50}]},
            "sex": {"title": "性别", "codes": {"男": "1", "女": "2"}, "checks": ["sex"]},
            "birth": {"title": "出生日期", "type": "date", "checks": ["not_after"]},
            "division": {"title": "行政区划", "checks": ["division"]},
            "mobile": {"title": "手机号码", "checks": ["mobile"]},
            "income": {"title": "收入", "type": "decimal", "precision": 18, "scale": 2},
            "remark": {"title": "备注"},
            "updated_at": {"type": "timestamp"},
        },
    }
)

GOOD: dict[str, str | None] = {
    "id": "1",
    "citizen_id": "11010519491231002X",
    "name": "张三丰",
    "sex": "女",
    "birth": "1949-12-31",
    "division": "330602",
    "mobile": "13800138000",
    "income": "1234.50",
    "remark": "无",
    "updated_at": "2026-05-01 08:30:00.123456+00",
}


def contract(
    resources: Mapping[str, Resource], department: str = "police", system: str = "hukou"
) -> Contract:
    """A contract of these resources."""
    return Contract.model_validate(
        {
            "department": {"code": department},
            "system": {"code": system},
            "source": {"url": "postgresql://127.0.0.1/none"},
            "resources": dict(resources),
        }
    )


def car(
    rows: Sequence[Mapping[str, str | None]],
    items: Iterable[str] | None = None,
    ops: str = "",
    first_seq: int = 1,
    lane: Lane = Lane.STREAM,
    unchanged: Sequence[bytes | None] = (),
) -> pa.RecordBatch:
    """A raw car with these as-written values; ops: one letter a row, by default all created."""
    names = list(items if items is not None else rows[0])
    count = len(rows)
    ops = ops or "c" * count
    meta: dict[str, Any] = {
        "_op": [ord(op) for op in ops],
        "_lane": [int(lane)] * count,
        "_seq": range(first_seq, first_seq + count),
        "_epoch": [1] * count,
        "_pos": range(1000 + first_seq, 1000 + first_seq + count),
        "_idx": [0] * count,
        "_part": [0] * count,
        "_xid": [7] * count,
        "_commit": [COMMIT + row for row in range(count)],
        "_unchanged": list(unchanged) or [None] * count,
    }
    columns = [pa.array(meta[name], kind) for name, kind in META]
    columns += [pa.array([row.get(name) for row in rows], pa.utf8()) for name in names]
    return pa.RecordBatch.from_arrays(columns, schema=raw_schema(names))


def train(
    batch: pa.RecordBatch,
    resource: str = "person",
    station: str = "police.hukou",
    epoch: int = 1,
    partition: int = 0,
    small: bool = False,
) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Value and headers of a raw train with one car. small: as a small car."""
    seqs, codes = batch.column("_seq").to_pylist(), batch.column("_op").to_pylist()
    lane = Lane(batch.column("_lane")[0].as_py())
    ops = {chr(code): codes.count(code) for code in set(codes) if chr(code) != "t" or partition == 0}
    entry = CarEntry(resource, lane, batch.num_rows, ops, first_commit=COMMIT, last_commit=COMMIT)
    manifest = Manifest(
        station, epoch, COMMIT, {lane: (seqs[0], seqs[-1])}, [entry], Identity(epoch, 1000 + seqs[-1], 0)
    )
    return encode(manifest, [small_car(batch) if small else batch])


def small_car(batch: pa.RecordBatch) -> SmallCar:
    """A raw car as a small one."""
    columns = [
        *batch.columns[:COMMIT_AT],
        batch.column(COMMIT_AT).cast(pa.int64()),
        *batch.columns[COMMIT_AT + 1 :],
    ]
    rows = [list(row) for row in zip(*(column.to_pylist() for column in columns), strict=True)]
    for row in rows:
        row[UNCHANGED] = row[UNCHANGED] and row[UNCHANGED].hex()
    return SmallCar(shape(tuple(name[3:] for name in batch.schema.names[ITEMS:])), rows)


def citizen_id(number: int) -> str:
    """A valid id of a woman born on 1949-12-31; another one for each number below 500."""
    body = f"11010519491231{number // 5:02d}{number % 5 * 2}"
    return body + check_character(body)
