"""基层治理网格事件: the grids, their workers, places and visits."""

from __future__ import annotations

import numpy as np
import polars as pl

from examples.city import words
from examples.city.draw import Draw, Index
from examples.city.faults import Fault, Faults, where
from examples.city.grid import PER_GRID, coordinates, grid_code
from examples.city.numbers import Citizens, mobiles
from examples.city.people import addresses, adult, code_text, coded, days, divisions, names, stamps, times
from examples.city.table import Made, Table


def _grid(draw: Draw, index: Index) -> Made:
    division = divisions(draw, "grid", index)
    frame = pl.DataFrame(
        {
            "wgbm": grid_code(index),
            "wgmc": draw.pick("grid street", index, words.STREETS)
            + coded("第", index % np.uint64(40), 2)
            + "网格",
            "xzqh": code_text(division),
            "wgjb": draw.weigh("grid level", index, {"普通网格": 85.0, "专属网格": 15.0}),
            "wgz": names(draw, adult(draw, "grid worker", index)),
            "hs": draw.below("households", index, 400) + 100,
            "mj": (draw.share("area", index) * 4e5).round(2),
        }
    )
    return Made(frame, Faults(draw, "grid", index, {}))


def _grid_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    return pl.DataFrame({"wgbm": grid_code(index), "hs": draw.below(f"hs {version}", index, 400) + 100})


_WORKER_FAULTS = {"sex_mismatch": Fault(0.003), "wrong_phone": Fault(0.01)}


def _worker(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "grid_worker", index, _WORKER_FAULTS)
    person = adult(draw, "grid worker", index)
    citizens = Citizens(person, draw.seed)
    sex = np.where(faults.has("sex_mismatch"), 3 - citizens.sex, citizens.sex)
    phone = mobiles(draw.bits("mobile", person))
    skills = ("{人民调解,消防}", "{消防}", "{急救,心理疏导}", "{}")
    frame = pl.DataFrame(
        {
            "worker_no": coded("W", index, 8),
            "xm": names(draw, person),
            "xb": pl.Series(np.where(sex == 1, "M", "F")),
            "sfzh": citizens.ids(),
            "phone": where(faults.has("wrong_phone"), phone.str.slice(0, 10), phone),
            "wgbm": grid_code(index),
            "on_duty": pl.Series(draw.share("on duty", index) < 0.9),
            "joined": days(times(draw, "joined", index, 2000)),
            "skills": draw.pick("skills", index, skills),
        }
    )
    return Made(frame, faults)


def _worker_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    duty = pl.Series(draw.share(f"duty {version}", index) < 0.9)
    phone = mobiles(draw.bits(f"mobile {version}", index))
    return pl.DataFrame({"worker_no": coded("W", index, 8), "on_duty": duty, "phone": phone})


_PLACE_FAULTS = {"out_of_range": Fault(0.005, held=True)}


def _place(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "place", index, _PLACE_FAULTS)
    division = divisions(draw, "place", index)
    kind = draw.weigh("place kind", index, words.PLACES)
    longitude, latitude = coordinates(draw, "place", index, division)
    frame = pl.DataFrame(
        {
            "dzbm": coded("DZ", index, 12),
            "dzmc": draw.pick("place street", index, words.STREETS)
            + draw.pick("e", index, words.ESTATES)
            + kind,
            "dzlb": kind,
            "bzdz": addresses(draw, "place", index, division),
            "xzqh": code_text(division),
            "jd": where(faults.has("out_of_range"), pl.Series(latitude + 300.0), longitude),
            "wd": latitude,
            "mj": (draw.share("place area", index) * 9000).round(2),
            "gxsj": stamps(times(draw, "place changed", index)),
        }
    )
    return Made(frame, faults)


def _place_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    area = (draw.share(f"area {version}", index) * 9000).round(2)
    return pl.DataFrame({"dzbm": coded("DZ", index, 12), "mj": area})


def _visit(draw: Draw, index: Index) -> Made:
    frame = pl.DataFrame(
        {
            "id": index.astype(np.int64) + 1,
            "wgbm": grid_code(index // PER_GRID),
            "sfzh": Citizens(adult(draw, "visited", index), draw.seed).ids(),
            "zflx": draw.weigh("visit kind", index, {"入户": 72.0, "电话": 20.0, "测试": 8.0}),
            "zfsj": stamps(times(draw, "visited at", index, 100)),
            "zfjg": draw.weigh("visit result", index, {"正常": 95.0, "需关注": 5.0}),
        }
    )
    return Made(frame, Faults(draw, "visit", index, {}))


def _visit_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    result = draw.pick(f"visit {version}", index, ("正常", "需关注"))
    return pl.DataFrame({"id": index.astype(np.int64) + 1, "zfjg": result})


TABLES = (
    Table(
        *("grid", "public.wg_jbxx", 4, ("wgbm",), _grid, {}),
        number="substr(wgbm, 3)::bigint",
        revise=_grid_revised,
    ),
    Table(
        *("grid_worker", "public.wg_worker", 4, ("worker_no",), _worker, _WORKER_FAULTS),
        number="substr(worker_no, 2)::bigint",
        revise=_worker_revised,
    ),
    Table(
        *("place", "public.dz_place", 20, ("dzbm",), _place, _PLACE_FAULTS),
        number="substr(dzbm, 3)::bigint",
        revise=_place_revised,
        fresh={"gxsj": "now"},
        touch="gxsj = now()",
    ),
    Table(
        *("visit", "public.jm_zf", 12, ("id",), _visit, {}),
        number="id - 1",
        revise=_visit_revised,
        fresh={"zfsj": "now"},
    ),
)
