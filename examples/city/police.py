"""公安局户籍: the police's household register. Schema hj, pinyin abbreviations as in the field."""

from __future__ import annotations

import numpy as np
import polars as pl

from examples.city.draw import Draw, Index
from examples.city.faults import CITIZEN_ID, Fault, Faults, citizen_ids, dates, where
from examples.city.numbers import FORMER, Citizens
from examples.city.people import (
    addresses,
    code_text,
    coded,
    days,
    divisions,
    dotted,
    household,
    names,
    stamps,
    times,
)
from examples.city.table import Made, Table

_PERSON_FAULTS = CITIZEN_ID | {
    "missing_required": Fault(0.005, held=True),
    "unreadable_date": Fault(0.001, held=True),
    "unknown_sex": Fault(0.001, held=True),
    "odd_date": Fault(0.01),
    "sex_mismatch": Fault(0.003),
    "birth_mismatch": Fault(0.002),
    "unknown_division": Fault(0.003),
    "blank_name": Fault(0.004),
}
_MARRIAGE = {"10": 20.0, "20": 70.0, "30": 4.0, "40": 6.0}
_EDUCATION = {"10": 2.0, "20": 16.0, "30": 14.0, "60": 20.0, "70": 28.0, "80": 15.0, "90": 5.0}
_ETHNIC = {"01": 97.0, "22": 0.6, "15": 0.6, "06": 0.6, "08": 0.4, "07": 0.3, "03": 0.3, "12": 0.1, "97": 0.1}
_STATE = {"正常": 970.0, "迁出": 20.0, "死亡": 10.0}


def _person(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "person", index, _PERSON_FAULTS)
    citizens = Citizens(index, draw.seed)
    ids = citizen_ids(citizens, faults)
    name = where(faults.has("missing_required"), None, names(draw, index))
    name = where(faults.has("blank_name"), " " + name.str.slice(0, 1) + "　" + name.str.slice(1), name)
    sex = np.where(faults.has("sex_mismatch"), 3 - citizens.sex, citizens.sex)
    sex = np.where(faults.has("unknown_sex"), 7, sex)
    birth = citizens.birth + np.where(faults.has("birth_mismatch"), 31, 0).astype("timedelta64[D]")
    division = divisions(draw, "household", household(index))
    code = where(faults.has("unknown_division"), "339999", code_text(division))
    former = code.replace_strict(FORMER, default=None)
    code = where(
        ~faults.any() & (draw.share("former", index) < 0.01) & former.is_not_null().to_numpy(), former, code
    )
    frame = pl.DataFrame(
        {
            "rybh": coded("R", index),
            "sfzh": ids,
            "xm": name,
            "xb": pl.Series(sex).cast(pl.String),
            "mz": where(dotted(draw, index), "05", draw.weigh("ethnic", index, _ETHNIC)),
            "csrq": dates(birth, faults),
            "hyzk": draw.weigh("marriage", index, _MARRIAGE),
            "whcd": draw.weigh("education", index, _EDUCATION),
            "hh": coded("H", household(index)),
            "xzqh": code,
            "hjdz": addresses(draw, "household", household(index), division),
            "ryzt": draw.weigh("state", index, _STATE),
            "gxsj": stamps(times(draw, "person changed", index)),
        }
    )
    return Made(frame, faults)


def _person_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    home = household(index)
    return pl.DataFrame(
        {
            "rybh": coded("R", index),
            "hyzk": draw.weigh(f"marriage {version}", index, _MARRIAGE),
            "whcd": draw.weigh(f"education {version}", index, _EDUCATION),
            "hjdz": addresses(draw, "household", home, divisions(draw, "household", home), version),
            "ryzt": draw.weigh(f"state {version}", index, _STATE),
        }
    )


def _person_corrected(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    faulty = Faults(draw, "person", index, _PERSON_FAULTS).any()
    citizens = Citizens(index, draw.seed)
    return pl.DataFrame(
        {"rybh": coded("R", index), "sfzh": where(faulty, citizens.ids(), citizens.ids(corrected=True))}
    )


_HOUSEHOLD_FAULTS = {"missing_required": Fault(0.005, held=True), "negative_size": Fault(0.005, held=True)}


def _household(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "household", index, _HOUSEHOLD_FAULTS)
    head = index * np.uint64(3)
    division = divisions(draw, "household", index)
    size = np.where(faults.has("negative_size"), -1, 3)
    frame = pl.DataFrame(
        {
            "hh": coded("H", index),
            "hzxm": names(draw, head),
            "hzsfzh": Citizens(head, draw.seed).ids(),
            "hlx": draw.weigh("household kind", index, {"家庭户": 95.0, "集体户": 5.0}),
            "xzqh": where(faults.has("missing_required"), None, code_text(division)),
            "dz": addresses(draw, "household", index, division),
            "lhrq": days(times(draw, "household made", index, 9000)),
            "rks": size,
            "gxsj": stamps(times(draw, "household changed", index)),
        }
    )
    return Made(frame, faults)


def _household_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    return pl.DataFrame({"hh": coded("H", index), "rks": draw.below(f"size {version}", index, 6) + 1})


_MEMBER_FAULTS = CITIZEN_ID


def _member(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "household_member", index, _MEMBER_FAULTS)
    place = (index % np.uint64(3)).astype(np.int64)
    frame = pl.DataFrame(
        {
            "hh": coded("H", household(index)),
            "cyxh": place + 1,
            "sfzh": citizen_ids(Citizens(index, draw.seed), faults),
            "yhzgx": pl.Series(["户主", "配偶", "子女"]).gather(place),
            "rhrq": days(times(draw, "member since", index, 9000)),
        }
    )
    return Made(frame, faults)


def _member_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    kin = {"户主": 30.0, "配偶": 30.0, "子女": 30.0, "父母": 8.0, "其他亲属": 2.0}
    return pl.DataFrame(
        {
            "hh": coded("H", household(index)),
            "cyxh": (index % np.uint64(3)).astype(np.int64) + 1,
            "yhzgx": draw.weigh(f"kin {version}", index, kin),
        }
    )


TABLES = (
    Table(
        *("person", "hj.t_ry_jbxx", 200, ("rybh",), _person, _PERSON_FAULTS),
        number="substr(rybh, 2)::bigint",
        revise=_person_revised,
        fresh={"gxsj": "now"},
        touch="gxsj = now()",
        correct=_person_corrected,
    ),
    Table(
        *("household", "hj.t_hjxx", 67, ("hh",), _household, _HOUSEHOLD_FAULTS),
        number="substr(hh, 2)::bigint",
        revise=_household_revised,
        fresh={"gxsj": "now"},
        touch="gxsj = now()",
    ),
    Table(
        *("household_member", "hj.t_hcy", 200, ("hh", "cyxh"), _member, _MEMBER_FAULTS),
        number="substr(hh, 2)::bigint * 3 + cyxh % 50 - 1",
        revise=_member_revised,
        # Somebody moves to another place in the household: the composite key changes.
        rekey="cyxh = (t.cyxh + 50) % 100",
        match="t.hh = v.hh AND t.cyxh IN (v.cyxh::int, v.cyxh::int + 50)",
    ),
)
