"""The line as one would build it plainly: one message a row at every hop. Three small programs.

    python -m bench.peers.plain_line capture DSN KAFKA        pgoutput → plain.raw, kafka-python
    python -m bench.peers.plain_line clean worker …           plain.raw → plain.clean, a Faust agent
    python -m bench.peers.plain_line land KAFKA HOST PORT REDIS    plain.clean → ClickHouse and Redis

It keeps no identities, no ledger and no promise after a crash: what it saves on those is its gain.
"""

from __future__ import annotations

import json
import os
import select
import sys
from typing import Any

ITEMS = ["rybh", "sfzh", "xm", "xb", "mz", "csrq", "hyzk", "whcd", "hh", "xzqh", "hjdz", "ryzt", "gxsj"]
SLOT = PUBLICATION = "plain"
RAW, CLEAN = "plain.raw", "plain.clean"
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def capture(dsn: str, kafka: str) -> None:
    """Send each changed row as one JSON message."""
    import psycopg2
    import psycopg2.extras
    from kafka import KafkaProducer

    from connectors.postgres import decode

    producer = KafkaProducer(bootstrap_servers=kafka, acks="all", linger_ms=20)
    connection = psycopg2.connect(dsn, connection_factory=psycopg2.extras.LogicalReplicationConnection)
    cursor: Any = connection.cursor()
    cursor.start_replication(
        slot_name=SLOT, decode=False, options={"proto_version": "1", "publication_names": PUBLICATION}
    )
    end = 0
    while True:
        message = cursor.read_message()
        if message is None:
            producer.flush()
            if end:
                cursor.send_feedback(flush_lsn=end, force=True)
            select.select([connection], [], [], 0.5)
            continue
        data = message.payload
        if data[0] == decode.COMMIT:
            end = decode.commit_end(data)
        elif data[0] in (decode.INSERT, decode.UPDATE):
            values: decode.Values = []
            decode.append_tuple(data, 6, values)
            row = {item: None if v is None else v.decode() for item, v in zip(ITEMS, values, strict=True)}
            producer.send(RAW, key=str(row["rybh"]).encode(), value=json.dumps(row).encode())


def clean() -> None:
    """One event at a time: check, send on."""
    import faust

    app = faust.App(
        "plain", broker=f"kafka://{os.environ['PLAIN_KAFKA']}", store="memory://", web_enabled=False
    )
    raw, out = app.topic(RAW, value_serializer="json"), app.topic(CLEAN, value_serializer="json")

    @app.agent(raw)
    async def each(rows: Any) -> None:
        async for row in rows:
            if checked(row["sfzh"]):
                row["xm"] = row["xm"].strip()
                await out.send(key=row["rybh"], value={"before": None, "after": row, "op": "u"})

    app.main()


def checked(number: str) -> bool:
    """GB 11643: the check digit of a citizen id."""
    if len(number) != 18 or not number[:17].isdigit():
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number, strict=False))
    return "10X98765432"[total % 11] == number[17]


def land(kafka: str, host: str, port: str, url: str) -> None:
    """History by clickhouse-driver, 1,000 rows a block; golden records and counts in Redis, two
    commands a row, a pipeline a poll: the server syncs its file to disk at every answer."""
    import redis
    from clickhouse_driver import Client
    from kafka import KafkaConsumer

    store, cache = Client(host, port=int(port)), redis.Redis.from_url(url)
    consumer = KafkaConsumer(
        CLEAN,
        bootstrap_servers=kafka,
        group_id="plain-land",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    rows: list[list[Any]] = []
    while True:
        calls: Any = cache.pipeline(transaction=False)
        for records in consumer.poll(timeout_ms=500, max_records=1000).values():
            for record in records:
                row = json.loads(record.value)["after"]
                golden = {"xm": row["xm"], "xb": row["xb"], "dz": row["hjdz"]}
                calls.hset(f"plain:{row['sfzh']}", mapping=golden)
                calls.hincrby("plain:count", row["xzqh"])
                rows.append([row[item] for item in ITEMS])
        if rows:
            calls.execute()
            store.execute(f"INSERT INTO plain ({', '.join(ITEMS)}) VALUES", rows)
            consumer.commit()
            rows = []


if __name__ == "__main__":
    word = sys.argv.pop(1)
    if word == "capture":
        capture(*sys.argv[1:])
    elif word == "land":
        land(*sys.argv[1:])
    else:
        clean()
