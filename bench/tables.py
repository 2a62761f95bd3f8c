"""The tables of docs/benchmark.md, by the names of their places."""

from __future__ import annotations

from bench.figures import HOPS, Figures, number, table

_STAGES = (
    ("backlog, committed → landed everywhere", "drain.landed"),
    ("… → raw trains", "drain.captured"),
    ("… → clean topics", "drain.clean"),
    ("… → history", "drain.history"),
    ("… → indicators", "drain.indicators"),
    ("… → themes", "drain.themes"),
    ("first load → raw trains", "snapshot.captured"),
    ("first load → landed everywhere", "snapshot.landed"),
    ("inserts only → landed everywhere", "inserts.landed"),
    ("updates only → landed everywhere", "updates.landed"),
    ("deletes only → landed everywhere", "deletes.landed"),
    ("updates, 1 a transaction", "transactions.1.landed"),
    ("updates, 1,000 a transaction", "transactions.1000.landed"),
    ("updates, 1,000,000 a transaction", "transactions.1000000.landed"),
    ("highest rate at which freshness stays flat", "steady.rate"),
)
_PERCENTILES = ("p50", "p95", "p99", "max")
#: Variants of growth: the figures' word, and what its number is of.
GROWTH = {"resources": "resources", "partitions": "partitions", "rows": "rows", "load": "load"}


def blocks(figures: Figures, peers: Figures | None) -> dict[str, str]:
    """Markdown by place."""
    made = {
        "machine": machine(figures),
        "throughput": throughput(figures),
        "capture": capture(figures),
        "latency": latency(figures),
        "cost": cost(figures),
        "bytes": sizes(figures),
        "beside": beside(figures),
        "outage": outage(figures),
        "backpressure": backpressure(figures),
        "growth": growth(figures),
        "workers": workers(figures),
    }
    return made if peers is None else made | {"peers": beside_peers(peers)}


def machine(figures: Figures) -> str:
    known = figures.machine
    disk = f" The disk keeps 8 KB in {figures.told('machine.sync')} ms." if "machine.sync" in figures else ""
    return (
        f"{known['cpu']}, {known['cores']} cores, {known['memory_gb']} GB; {known['system']}; "
        f"Python {known['python']}.{disk}\n"
    )


def throughput(figures: Figures) -> str:
    names = figures.workloads()
    rows = [
        [title, *(figures.told(f"{name}.{word}") for name in names)]
        for title, word in _STAGES
        if any(f"{name}.{word}" in figures for name in names)
    ]
    return table(["rows/s", *names], rows)


def capture(figures: Figures) -> str:
    rows = [
        [title, figures.told(f"capture.{word}.captured"), number(sum(used.values()))]
        for title, word in (("first load", "snapshot"), ("backlog of updates", "stream"))
        if (used := figures.under(f"capture.{word}.cpu."))
    ]
    return table(["source → raw trains alone, one table", "rows/s", "CPU s per million rows"], rows)


def latency(figures: Figures) -> str:
    rows = []
    for name in figures.found(r"(\w+\.latency\.\d+)\.\w+\.p50"):
        line, _, rate = name.split(".")
        rows += [
            [
                f"{line}, {int(rate):,} rows/s → {title}",
                *(figures.told(f"{name}.{hop}.{p}") for p in _PERCENTILES),
            ]
            for hop, title in HOPS.items()
            if f"{name}.{hop}.p50" in figures
        ]
    return table(["milliseconds from commit", *_PERCENTILES], rows)


def cost(figures: Figures) -> str:
    names = figures.workloads()
    parts = dict.fromkeys(part for name in names for part in figures.under(f"{name}.drain.cpu."))
    rows = [
        [part, *(figures.told(f"{name}.drain.{word}.{part}") for word in ("cpu", "rss") for name in names)]
        for part in parts
    ]
    whole = (number(sum(figures.under(f"{name}.drain.rss.").values())) for name in names)
    rows.append(["all", *(figures.told(f"{name}.drain.cpu") for name in names), *whole])
    for who in ("bench", "strangers"):
        used = (figures.told(f"{name}.drain.beside.{who}") for name in names)
        rows.append([f"beside the line: {who}", *used, *("" for _ in names)])
    heads = [f"{name}, CPU s per million rows" for name in names] + [f"{name}, MB" for name in names]
    return table(["draining", *heads], rows if names else [])


def sizes(figures: Figures) -> str:
    columns = [f"{name}.{word}" for name in figures.workloads() for word in ("snapshot", "drain")]
    titles = {
        "bytes.raw": "wire: raw topic",
        "bytes.train": "wire: clean trains",
        "bytes.clean": "wire: clean topics",
        "disk.kafka": "disk: Kafka, all topics",
        "disk.clickhouse": "disk: ClickHouse",
        "disk.redis": "disk: Redis, its append-only file",
        "disk.rocksdb": "disk: RocksDB, the sinks' contributions",
    }
    rows = [
        [title, *(figures.told(f"{column}.{word}") for column in columns)]
        for word, title in titles.items()
        if any(f"{column}.{word}" in figures for column in columns)
    ]
    return table(["bytes a row", *(column.replace(".", ", ") for column in columns)], rows)


def beside(figures: Figures) -> str:
    names = figures.found(r"(\w+\.latency\.\d+)\.beside\.\w+")
    whole = [number(sum(figures.under(f"{name}.cpu.").values())) for name in names]
    who = dict.fromkeys(word for name in names for word in figures.under(f"{name}.beside."))
    rows = [["the line, servers included", *whole]]
    rows += [[each, *(figures.told(f"{name}.beside.{each}") for name in names)] for each in who]
    heads = [f"{line}, {int(rate):,} rows/s" for line, _, rate in (name.split(".") for name in names)]
    return table(["% of a core", *heads], rows if names else [])


def outage(figures: Figures) -> str:
    names = figures.found(r"(\w+\.outage\.[\w-]+)\.caught_up")
    rows = [
        [
            name.rpartition(".")[2],
            *(figures.told(f"{name}.{word}") for word in ("stopped", "waiting", "caught_up", "rate")),
        ]
        for name in names
    ]
    return table(["stopped", "for s", "at work again after s", "caught up after s", "rows/s meanwhile"], rows)


def backpressure(figures: Figures) -> str:
    rows = []
    for name in figures.found(r"(\w+)\.backpressure\.load"):
        base = f"{name}.backpressure"
        rows += [
            [f"{name}: load, rows/s", figures.told(f"{base}.load")],
            ["committed and not landed at its end, rows", figures.told(f"{base}.behind")],
            ["… as `datarail status` said then", figures.told(f"{base}.lag_rows")],
            ["all landed s after its end", figures.told(f"{base}.caught_up")],
        ]
        for hop in ("indicator", "golden", "history"):
            if f"{base}.overtaken.{hop}.max" in figures:
                late = figures.told(f"{base}.overtaken.{hop}.max")
                rows.append([f"a younger change was seen before an older one, {HOPS[hop]}, at most ms", late])
        rss = figures.under(f"{base}.rss.")
        before = figures.under(f"{name}.drain.rss.")
        rows.append(["memory of all processes, MB", number(sum(rss.values()))])
        rows.append(["… while draining a backlog, MB", number(sum(before.values()))])
    for name in figures.found(r"(\w+)\.dead\.all\.indicator\.p50"):
        for word, title in (("all", "every sink at work"), ("without_history", "history's stopped")):
            both = " / ".join(figures.told(f"{name}.dead.{word}.indicator.{p}") for p in ("p50", "p99"))
            rows.append([f"{name}: indicator at 1,000 rows/s, {title}, p50 / p99 ms", both])
    return table(["", ""], rows)


def growth(figures: Figures) -> str:
    rows = []
    for word in GROWTH:
        for value in figures.found(rf"growth\.{word}\.(\w+)\.drain\.landed"):
            name = f"growth.{word}.{value}"
            rows.append(
                [
                    called(word, value),
                    figures.told(f"{name}.snapshot.landed"),
                    figures.told(f"{name}.drain.landed"),
                    figures.told(f"{name}.drain.cpu"),
                    number(sum(figures.under(f"{name}.drain.rss.").values())),
                ]
            )
    heads = ["", "first load, rows/s", "backlog, rows/s", "CPU µs a row", "memory, MB"]
    return table(heads, rows)


def workers(figures: Figures) -> str:
    rows = [
        [sink, *(figures.told(f"growth.workers.{sink}.{word}") for word in ("1", "2", "ratio"))]
        for sink in figures.found(r"growth\.workers\.(\w+)\.ratio")
    ]
    return table(["sink", "one process, rows/s", "two, rows/s", "times"], rows)


def beside_peers(peers: Figures) -> str:
    """Everyone's medians side by side, and ours as a multiple of each."""
    rows = []
    for each in peers.found(r"(.+)\.stream\.captured"):
        words = [peers.told(f"{each}.{word}.captured") for word in ("snapshot", "stream")]
        words += [peers.told(f"{each}.latency.1000.raw.{word}") for word in ("p50", "p99")]
        words += [peers.told(f"{each}.{word}.cpu") for word in ("snapshot", "stream")]
        times = [peers.told(f"ratio.{each}.{word}") for word in ("snapshot", "stream", "p50")]
        rows.append([each, *words, " / ".join(times) if each != "ours" else "1"])
    heads = [
        "capture alone, one table",
        "snapshot rows/s",
        "stream rows/s",
        "p50 ms at 1,000 rows/s",
        "p99 ms",
    ]
    heads += ["snapshot, CPU s per million", "stream, CPU s per million"]
    heads += ["ours: times its snapshot / stream / p50"]
    text = table(heads, rows)
    if "plain.landed" in peers:
        whole = [[each, peers.told(f"{each}.landed")] for each in ("ours", "plain")]
        whole.append(["times", peers.told("ratio.plain.landed")])
        text += "\n" + table(["the whole line, one table, committed → landed", "rows/s"], whole)
    return text


def called(word: str, value: str) -> str:
    """What one of the growth's variants is called: 94 resources, load skewed."""
    return f"{int(value):,} {GROWTH[word]}" if value.isdigit() else f"{GROWTH[word]} {value}"
