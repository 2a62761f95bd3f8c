"""基层治理网格事件: what grid workers see and report. Quoted, mixed-case names among plain ones."""

from __future__ import annotations

import numpy as np
import polars as pl

from examples.city import words
from examples.city.draw import Draw, Index
from examples.city.faults import Fault, Faults, where
from examples.city.numbers import CODES, Citizens, mobiles
from examples.city.people import addresses, adult, code_text, coded, divisions, names, stamps, times
from examples.city.table import Made, Table

_LEVELS = {"normal": 90.0, "urgent": 8.0, "major": 2.0}
#: Events to a grid.
PER_GRID = np.uint64(13)
_EVENT_FAULTS = {
    "wrong_phone": Fault(0.01),
    "missing_required": Fault(0.005, held=True),
    "reversed_dates": Fault(0.005, held=True),
}


def _event_number(index: Index) -> pl.Series:
    return coded("SJ", index, 12)


def grid_code(grid: Index) -> pl.Series:
    """The code of a grid number."""
    return coded("WG", grid, 8)


def _event(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "event", index, _EVENT_FAULTS)
    grid, reporter = index // PER_GRID, adult(draw, "reporter", index)
    division = divisions(draw, "grid", grid)
    kind = draw.weigh("event kind", index, words.EVENTS)
    place = addresses(draw, "event", index, division)
    reported = times(draw, "reported", index, 200)
    hours = draw.below("hours", index, 72) + 1
    closed = reported + np.where(faults.has("reversed_dates"), -hours, hours).astype("timedelta64[h]")
    is_open = (draw.share("closed", index) < 0.2) & ~faults.has("reversed_dates")
    phone = mobiles(draw.bits("mobile", reporter))
    longitude, latitude = coordinates(draw, "event", index, division)
    frame = pl.DataFrame(
        {
            "EventId": index.astype(np.int64) + 1,
            "SJBH": _event_number(index),
            "SJLX": where(faults.has("missing_required"), None, kind),
            "BT": kind + "：" + place.str.slice(3, 8),
            "MS": kind.replace_strict(words.EVENT_TEXTS) + "，地点" + place + "。",
            "WGBM": grid_code(grid),
            "XZQH": code_text(division),
            "FSDD": place,
            "SBR": names(draw, reporter),
            "SBRSFZH": Citizens(reporter, draw.seed).ids(),
            "LXDH": where(faults.has("wrong_phone"), phone.str.slice(1), phone),
            "SBSJ": stamps(reported),
            "BJSJ": where(is_open, None, stamps(closed)),
            "DJ": draw.weigh("level", index, _LEVELS),
            "ZT": where(is_open, "处理中", pl.Series(["办结"]).gather(np.zeros(len(index), dtype=np.int64))),
            "MYD": where(is_open, None, pl.Series(draw.below("pleased", index, 5) + 1).cast(pl.String)),
            "JD": longitude,
            "WD": latitude,
        }
    )
    return Made(frame, faults)


def _event_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "EventId": index.astype(np.int64) + 1,
            "DJ": draw.weigh(f"level {version}", index, _LEVELS),
            "ZT": draw.pick(f"state {version}", index, ("处理中", "办结", "挂起")),
        }
    )


def coordinates(
    draw: Draw, word: str, index: Index, division: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> tuple[pl.Series, pl.Series]:
    """Degrees east and north, around each division's own place."""
    order = np.searchsorted(np.sort(CODES), division)
    east = 120.4 + order % 4 * 0.3 + draw.share(f"{word} east", index) * 0.25
    north = 29.4 + order // 4 * 0.2 + draw.share(f"{word} north", index) * 0.18
    return pl.Series(east.round(6)), pl.Series(north.round(6))


_HANDLING_FAULTS = {"missing_required": Fault(0.005, held=True)}


def _handling(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "event_handling", index, _HANDLING_FAULTS)
    event = index * np.uint64(5) // np.uint64(4)
    frame = pl.DataFrame(
        {
            "id": index.astype(np.int64) + 1,
            "sjbh": where(faults.has("missing_required"), None, _event_number(event)),
            "czhj": draw.pick("step", index, words.HANDLING),
            "czr": names(draw, adult(draw, "handler", index)),
            "czyj": draw.pick("opinion", index, words.OPINIONS),
            "czsj": stamps(times(draw, "handled", index, 200)),
        }
    )
    return Made(frame, faults)


def _handling_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    opinion = draw.pick(f"opinion {version}", index, words.OPINIONS)
    return pl.DataFrame({"id": index.astype(np.int64) + 1, "czyj": opinion})


TABLES = (
    Table(
        *("event", 'public."Sj_EventInfo"', 50, ("EventId",), _event, _EVENT_FAULTS),
        number='"EventId" - 1',
        revise=_event_revised,
        fresh={"SBSJ": "now", "BJSJ": None, "ZT": "处理中", "MYD": None},
        touch=""""BJSJ" = CASE v."ZT" WHEN '办结' THEN now() END""",
    ),
    Table(
        *("event_handling", "public.sj_czjl", 40, ("id",), _handling, _HANDLING_FAULTS),
        number="id - 1",
        revise=_handling_revised,
        fresh={"czsj": "now"},
    ),
)
