"""市场监管局企业登记: licences, penalties and annual reports of the firms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from examples.city import words
from examples.city.draw import KEYS, Draw, Index
from examples.city.faults import Fault, Faults, wrong_code
from examples.city.market import CODE, codes, firm_names
from examples.city.people import coded, days, stamps, times
from examples.city.table import Made, Table

_CODE = {"wrong_credit_code": CODE["wrong_credit_code"]}
_OFFICES = ("绍兴市市场监督管理局", "宁波市市场监督管理局")
_PENALTY_FAULTS = _CODE | {
    "negative_amount": Fault(0.005, held=True),
    "missing_required": Fault(0.005, held=True),
}


def _penalty(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "penalty", index, _PENALTY_FAULTS)
    firm = index * np.uint64(4)
    kind = draw.weigh("penalty kind", index, words.PENALTIES)
    amount = (draw.below("amount", index, 500) + 5) * 100.5
    day = times(draw, "decided", index)
    frame = pl.DataFrame(
        {
            "pendecno": _decision(index),
            "uniscid": wrong_code(codes(draw, firm), faults),
            "entname": firm_names(draw, firm),
            "pentype": pl.select(
                pl.when(pl.Series(faults.has("missing_required"))).then(None).otherwise(kind)
            ).to_series(),
            "penam": np.where(faults.has("negative_amount"), -amount, amount),
            "pendecissdate": days(day),
            "illegfact": "当事人" + kind + "，违反有关规定，责令改正，处以罚款。",
            "penauth": draw.pick("office", index, _OFFICES),
            "state": draw.weigh("penalty state", index, {"已执行": 80.0, "未执行": 20.0}),
            "created_at": stamps(day),
        }
    )
    return Made(frame, faults)


def _decision(index: Index) -> pl.Series:
    return "甬绍市监罚〔2025〕" + coded("", index, 8) + "号"


def _penalty_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    states = ("已执行", "未执行", "已撤销")
    return pl.DataFrame({"pendecno": _decision(index), "state": draw.pick(f"state {version}", index, states)})


_LICENCE_FAULTS = _CODE | {"reversed_dates": Fault(0.005, held=True)}


def _licence(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "licence", index, _LICENCE_FAULTS)
    firm = index * np.uint64(3)
    start = times(draw, "licensed", index, 1500)
    years = np.where(faults.has("reversed_dates"), -1, 5) * 365
    frame = pl.DataFrame(
        {
            "lictype": _licence_kind(index),
            "licno": _licence_number(index),
            "uniscid": wrong_code(codes(draw, firm), faults),
            "entname": firm_names(draw, firm),
            "valfrom": days(start),
            "valto": days(start + years.astype("timedelta64[D]")),
            "licanth": draw.pick("licence office", index, _OFFICES),
            "licstate": draw.weigh("licence state", index, {"有效": 92.0, "注销": 6.0, "吊销": 2.0}),
        }
    )
    return Made(frame, faults)


def _licence_kind(index: Index) -> pl.Series:
    return KEYS.weigh("licence kind", index, words.LICENCES)


def _licence_number(index: Index) -> pl.Series:
    return coded("JY3306", index, 10)


def _licence_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "lictype": _licence_kind(index),
            "licno": _licence_number(index),
            "licstate": draw.pick(f"licence {version}", index, ("有效", "注销", "吊销")),
        }
    )


_REPORT_FAULTS = _CODE | {"negative_employees": Fault(0.005, held=True)}


def _report(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "annual_report", index, _REPORT_FAULTS)
    assets = (draw.share("assets", index) * 9e7).round(2)
    staff = draw.below("employees", index, 300) + 1
    frame = pl.DataFrame(
        {
            "pripid": coded("33", index, 14),
            "ancheyear": _year(index),
            "uniscid": wrong_code(codes(draw, index), faults),
            "assgro": assets,
            "vendinc": (assets * 0.7).round(2),
            "progro": (assets * (draw.share("profit", index) * 0.3 - 0.1)).round(2),
            "empnum": np.where(faults.has("negative_employees"), -staff, staff),
            "report": _details(draw, index),
            "submitted_at": stamps(times(draw, "submitted", index, 300)),
        }
    )
    return Made(frame, faults)


def _year(index: Index) -> npt.NDArray[np.int64]:
    return KEYS.below("year", index, 3) + 2023


def _details(draw: Draw, index: Index) -> pl.Series:
    website = pl.Series(draw.share("website", index) < 0.4).cast(pl.String)
    party = pl.Series(draw.below("party", index, 20)).cast(pl.String)
    return (
        '{"网站": '
        + website
        + ', "党员人数": '
        + party
        + ', "对外担保": [], "社保": {"养老": '
        + party
        + "}}"
    )


def _report_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "pripid": coded("33", index, 14),
            "ancheyear": _year(index),
            "vendinc": (draw.share(f"income {version}", index) * 6e7).round(2),
        }
    )


TABLES = (
    Table(
        *("penalty", "public.e_penalty", 10, ("pendecno",), _penalty, _PENALTY_FAULTS),
        number="substr(pendecno, 12, 8)::bigint",
        revise=_penalty_revised,
        fresh={"created_at": "now"},
    ),
    Table(
        *("licence", "public.e_licence", 20, ("lictype", "licno"), _licence, _LICENCE_FAULTS),
        number="substr(licno, 7)::bigint",
        revise=_licence_revised,
    ),
    Table(
        *("annual_report", "public.e_annual_report", 40, ("pripid", "ancheyear"), _report, _REPORT_FAULTS),
        number="substr(pripid, 3)::bigint",
        revise=_report_revised,
        fresh={"submitted_at": "now"},
    ),
)
