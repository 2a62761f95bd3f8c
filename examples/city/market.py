"""市场监管局企业登记: the firm register. English field names of the trade (UNISCID, ENTNAME …)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from examples.city import words
from examples.city.draw import Draw, Index, text
from examples.city.faults import Fault, Faults, blanks_and_width, where, wrong_code
from examples.city.numbers import Citizens, credit_codes, mobiles
from examples.city.people import addresses, adult, code_text, coded, days, divisions, names, stamps, times
from examples.city.table import Made, Table

CODE = {
    "wrong_credit_code": Fault(0.008, held=True),
    "blanks": Fault(0.005),
    "full_width_digits": Fault(0.003),
}
_FIRM_FAULTS = CODE | {
    "missing_required": Fault(0.005, held=True),
    "future_date": Fault(0.002, held=True),
    "negative_capital": Fault(0.005, held=True),
    "wrong_phone": Fault(0.01),
}
_KINDS = {"1130": 70.0, "1151": 10.0, "2130": 4.0, "4540": 12.0, "1219": 4.0}
_STATES = {"1": 88.0, "2": 4.0, "3": 8.0}
_TRADES = pl.Series(list(words.TRADES))
_INDUSTRIES = pl.Series(list(words.TRADES.values()))


def legal_person(draw: Draw, firm: Index) -> Index:
    """Who answers for the firm, as a number of the household register."""
    return adult(draw, "legal person", firm)


def codes(draw: Draw, firm: Index) -> npt.NDArray[np.uint8]:
    """Credit codes without a fault, as ASCII."""
    return credit_codes(firm, draw.seed, divisions(draw, "firm", firm))


def firm_names(draw: Draw, firm: Index) -> pl.Series:
    """City, brand, trade, legal form."""
    city = pl.Series(np.where(divisions(draw, "firm", firm) // 100 == 3306, "绍兴", "宁波"))
    brand = draw.pick("brand", firm, words.BRANDS_A) + draw.pick("brand two", firm, words.BRANDS_B)
    number = pl.Series(draw.below("brand number", firm, 90) + 10).cast(pl.String)
    brand = where(draw.share("numbered", firm) < 0.3, brand + number, brand)
    return city + brand + _TRADES.gather(draw.below("trade", firm, len(_TRADES))) + "有限公司"


def scopes(draw: Draw, firm: Index) -> pl.Series:
    """What the firm may do: most a line, one in twenty so long that PostgreSQL stores it apart."""
    short = words.SCOPE[:60]
    long = pl.Series([short, words.SCOPE, words.SCOPE * 9])
    drawn = draw.share("scope", firm)
    trade = _TRADES.gather(draw.below("trade", firm, len(_TRADES)))
    return "许可项目：" + trade + "。" + long.gather((drawn > 0.5).astype(int) + (drawn > 0.95).astype(int))


def _firm(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "firm", index, _FIRM_FAULTS)
    division = divisions(draw, "firm", index)
    person = legal_person(draw, index)
    opened = times(draw, "established", index, 7000)
    opened = np.where(faults.has("future_date"), np.datetime64("2099-01-01T00:00:00", "s"), opened)
    capital = 10.0 ** (draw.share("capital", index) * 4) // 1 * 10
    phone = mobiles(draw.bits("mobile", person))
    name = firm_names(draw, index)
    frame = pl.DataFrame(
        {
            "pripid": coded("33", index, 14),
            "uniscid": blanks_and_width(wrong_code(codes(draw, index), faults), faults),
            "entname": where(faults.has("missing_required"), None, name),
            "enttype": draw.weigh("enttype", index, _KINDS),
            "lerep": names(draw, person),
            "lerepid": Citizens(person, draw.seed).ids(),
            "regcap": np.where(faults.has("negative_capital"), -capital, capital),
            "regcapcur": draw.weigh("currency", index, {"人民币": 99.0, "美元": 1.0}),
            "estdate": days(opened),
            "opfrom": days(opened),
            "opto": where(
                draw.share("open end", index) < 0.7, None, days(opened + np.timedelta64(7300, "D"))
            ),
            "industryco": _INDUSTRIES.gather(draw.below("trade", index, len(_TRADES))),
            "domdistrict": code_text(division),
            "dom": addresses(draw, "firm", index, division),
            "tel": where(faults.has("wrong_phone"), phone.str.slice(0, 8) + "-", phone),
            "regstate": draw.weigh("regstate", index, _STATES),
            "opscope": scopes(draw, index),
            "s_ext_timestamp": stamps(times(draw, "firm changed", index)),
        }
    )
    return Made(frame, faults)


def _firm_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    # opscope is left alone: where it is stored apart, the log does not carry it.
    capital = 10.0 ** (draw.share(f"capital {version}", index) * 4) // 1 * 10
    return pl.DataFrame(
        {
            "pripid": coded("33", index, 14),
            "regcap": capital,
            "dom": addresses(draw, "firm", index, divisions(draw, "firm", index), version),
            "regstate": draw.weigh(f"regstate {version}", index, _STATES),
        }
    )


_STAFF_FAULTS = {"sex_mismatch": Fault(0.003), "missing_required": Fault(0.005, held=True)}


def _staff(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "firm_person", index, _STAFF_FAULTS)
    first = draw.share("is legal person", index) < 0.6
    person = np.where(first, legal_person(draw, index), adult(draw, "staff", index))
    citizens = Citizens(person, draw.seed)
    sex = np.where(faults.has("sex_mismatch"), 3 - citizens.sex, citizens.sex)
    frame = pl.DataFrame(
        {
            "personid": uuids(index),
            "pripid": coded("33", index, 14),
            "name": where(faults.has("missing_required"), None, names(draw, person)),
            "cerno": citizens.ids(),
            "sex": pl.Series(np.where(sex == 1, "男", "女")),
            "position": draw.pick("position", index, words.OCCUPATIONS),
            "islerep": pl.Series(first),
            "sdate": days(times(draw, "staff since", index, 3000)),
        }
    )
    return Made(frame, faults)


def uuids(index: Index) -> pl.Series:
    """The number in the last twelve digits, so that it can be told from the key."""
    number = text(np.frombuffer(b"".join(b"%012d" % row for row in index.tolist()), np.uint8).reshape(-1, 12))
    return "33060000-0000-4000-8000-" + number


def _staff_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    position = draw.pick(f"position {version}", index, words.OCCUPATIONS)
    return pl.DataFrame({"personid": uuids(index), "position": position})


TABLES = (
    Table(
        *("firm", "public.e_baseinfo", 60, ("pripid",), _firm, _FIRM_FAULTS),
        number="substr(pripid, 3)::bigint",
        revise=_firm_revised,
        fresh={"s_ext_timestamp": "now"},
        touch="s_ext_timestamp = now()",
    ),
    Table(
        *("firm_person", "public.e_pri_person", 60, ("personid",), _staff, _STAFF_FAULTS),
        number="right(personid::text, 12)::bigint",
        revise=_staff_revised,
    ),
)
