"""Records of the `quarantine` topic: JSON, one for each change held and each record unreadable.

A held change
    {"kind": "change", "station", "resource", "key": source key (datarail.keys),
     "op": "c" | "u" | "r", "lane": "stream" | "snapshot" | "replay",
     "identity": {"epoch", "position", "index", "part"}, "seq", "partition",
     "commit": microseconds since 1970, UTC; "captured", "held": the same, when its clean train was
     made, and the row held,
     "findings": [datarail.finding.Finding, ...],
     "written": {item: text or null}, "unchanged": [items that were not sent],
     "cleaned": {item: value or null}}
    keyed station/resource/key, in the partition number of its train, so later changes of a key
    come after it. `written` is the full row: access to this topic is restricted.

A record that cannot be read
    {"kind": "record", "station", "topic", "partition", "offset", "error",
     "resources": {resource: rows lost with it} where its manifest could be read, else {},
     "headers": {name: base64}, "value": base64, "held": microseconds since 1970}
    keyed topic/partition/offset.

A record may come twice after a crash; identity and seq, or topic, partition and offset, tell.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from datarail.columns import ADDED, WRITTEN, column
from datarail.finding import Finding
from datarail.position import Lane
from datarail.small_car import ITEMS, SmallCar, type_of, typed
from datarail.train import Headers
from streams.clean import Cleaned

#: What Kafka takes as one record, less room for key, headers and framing.
LARGEST_RECORD = (16 << 20) - (1 << 16)
#: Characters shown of a text that is too long to be kept in a record.
_SHOWN = 1000
_META = ["_op", "_lane", "_seq", "_epoch", "_pos", "_idx", "_part"]


def held_records(
    cleaned: Cleaned,
    station: str,
    resource: str,
    partition: int,
    at: int,
    unchanged: Sequence[tuple[str, ...]] | None,
) -> tuple[list[bytes], list[bytes]]:
    """Keys and values for the held rows of one cleaned car; at: microseconds since 1970."""
    rows = np.flatnonzero(cleaned.findings.held).tolist()
    if not rows:
        return [], []
    names = cleaned.batch.schema.names
    items = [name[len(WRITTEN) :] for name in names if name.startswith(WRITTEN)]
    # As written they are in the batch alone; what else there is, the frame gives at a stroke.
    texts = cleaned.batch.select([WRITTEN + item for item in items]).take(pa.array(rows))
    written = zip(*(values.to_pylist() for values in texts.columns), strict=True)
    held = cleaned.frame[rows]
    commits = held.get_column("_commit").cast(pl.Int64).to_list()
    places = {name: at for at, name in enumerate(held.columns)}
    meta = [places[name] for name in _META]
    values = {item: places[column(item)] for item in items if column(item) in places}
    keys, records = [], []
    for row, told, about, commit in zip(rows, written, held.rows(), commits, strict=True):
        key = about[places["_key"]]
        keys.append(f"{station}/{resource}/{key}".encode())
        records.append(
            _change(
                *(station, resource, key, partition, at),
                [about[place] for place in meta],
                commit,
                cleaned.findings.of(row),
                dict(zip(items, told, strict=True)),
                list(unchanged[row]) if unchanged else [],
                {item: about[place] for item, place in values.items()},
            )
        )
    return keys, records


def held_few(
    car: SmallCar, station: str, resource: str, partition: int, at: int
) -> tuple[list[bytes], list[bytes]]:
    """The same of a small clean car (streams.few)."""
    keys, records = [], []
    columns = car.shape
    kinds = {item: type_of(kind) for item, kind in columns.cleaned or ()}
    for row in car.rows:
        key, held, findings = row[columns.key : columns.key + len(ADDED)]
        if not held:
            continue
        *meta, _, commit, bits = row[:ITEMS]
        keys.append(f"{station}/{resource}/{key}".encode())
        records.append(
            _change(
                *(station, resource, key, partition, at),
                meta,
                commit,
                orjson.loads(findings),
                dict(zip(columns.items, row[ITEMS:], strict=False)),
                columns.unchanged(bits),
                {
                    item: typed(kinds[item], [row[columns.values[item]]])[0].as_py()
                    for item in columns.items
                    if item in kinds
                },
            )
        )
    return keys, records


def _change(
    station: str,
    resource: str,
    key: str,
    partition: int,
    at: int,
    meta: Sequence[int],
    commit: int,
    findings: list[Finding],
    written: dict[str, Any],
    unchanged: list[str],
    cleaned: dict[str, Any],
) -> bytes:
    op, lane, seq, epoch, position, index, part = meta
    record = {
        "kind": "change",
        "station": station,
        "resource": resource,
        "key": key,
        "op": chr(op),
        "lane": Lane(lane).label,
        "identity": {"epoch": epoch, "position": position, "index": index, "part": part},
        "seq": seq,
        "partition": partition,
        "commit": commit,
        "captured": at,
        "held": at,
        "findings": findings,
        "written": written,
        "unchanged": unchanged,
        "cleaned": cleaned,
    }
    return _sized(record)


def _sized(record: dict[str, Any]) -> bytes:
    """The record as JSON. One too large for Kafka keeps the beginnings of its long texts: whole they
    are in the clean train, as written."""
    text = orjson.dumps(record, default=str)
    if len(text) > LARGEST_RECORD:
        for part in ("written", "cleaned"):
            record[part] = {item: _beginning(value) for item, value in record[part].items()}
        text = orjson.dumps(record | {"shortened": True}, default=str)
    return text


def _beginning(value: Any) -> Any:
    if not isinstance(value, str) or len(value) <= _SHOWN:
        return value
    return f"{value[:_SHOWN]}…（共{len(value)}个字符）"


def unreadable_record(
    station: str,
    topic: str,
    partition: int,
    offset: int,
    error: str,
    resources: Mapping[str, int],
    headers: Headers | Mapping[str, bytes] | None,
    value: bytes | None,
    at: int,
) -> tuple[bytes, bytes]:
    """Key and value for a record that cannot be read, kept whole."""
    record = {
        "kind": "record",
        "station": station,
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "error": error,
        "resources": dict(resources),
        "headers": {
            name: base64.b64encode(text or b"").decode() for name, text in dict(headers or ()).items()
        },
        "value": base64.b64encode(value or b"").decode(),
        "held": at,
    }
    text = orjson.dumps(record)
    if len(text) > LARGEST_RECORD:
        record["value"] = ""
        record["error"] = (
            f"{error}; its {len(value or b'')} bytes do not fit here: they are at offset {offset} of "
            f"{topic}/{partition} as long as Kafka keeps them"
        )
        text = orjson.dumps(record)
    return f"{topic}/{partition}/{offset}".encode(), text
