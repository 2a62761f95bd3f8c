"""公安局户籍: the papers the police issue, moves between places, and the register's own log."""

from __future__ import annotations

import numpy as np
import polars as pl

from examples.city.draw import Draw, Index
from examples.city.faults import CITIZEN_ID, Fault, Faults, citizen_ids, where
from examples.city.numbers import Citizens, mobiles
from examples.city.people import addresses, adult, code_text, coded, days, divisions, names, stamps, times
from examples.city.table import Made, Table

_PERMIT_FAULTS = CITIZEN_ID | {
    "wrong_phone": Fault(0.01),
    "reversed_dates": Fault(0.005, held=True),
    "missing_required": Fault(0.005, held=True),
}


def _permit(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "residence_permit", index, _PERMIT_FAULTS)
    holder = adult(draw, "permit holder", index)
    division = divisions(draw, "permit", index)
    issued = times(draw, "permit issued", index, 700)
    expires = issued + np.where(faults.has("reversed_dates"), -30, 365).astype("timedelta64[D]")
    phone = mobiles(draw.bits("mobile", holder))
    frame = pl.DataFrame(
        {
            "jzzbh": coded("J", index),
            "sfzh": citizen_ids(Citizens(holder, draw.seed), faults),
            "xm": where(faults.has("missing_required"), None, names(draw, holder)),
            "xzz": addresses(draw, "permit", index, division),
            "xzqh": code_text(division),
            "lxdh": where(faults.has("wrong_phone"), phone.str.slice(0, 9), phone),
            "qfrq": days(issued),
            "yxqz": days(expires),
            "zt": draw.weigh("permit state", index, {"有效": 90.0, "注销": 6.0, "挂失": 4.0}),
            "gxsj": stamps(issued),
        }
    )
    return Made(frame, faults)


def _permit_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    address = addresses(draw, "permit", index, divisions(draw, "permit", index), version)
    return pl.DataFrame(
        {"jzzbh": coded("J", index), "xzz": address, "zt": draw.pick(f"{version}", index, ("有效", "注销"))}
    )


def _card(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "id_card", index, CITIZEN_ID)
    holder = index // np.uint64(2) * np.uint64(3) + index % np.uint64(2)  # each adult has one
    issued = times(draw, "card issued", index, 3000)
    print_ = pl.Series(draw.bits("fingerprint", index)).cast(pl.String)
    frame = pl.DataFrame(
        {
            "id": index.astype(np.int64) + 1,
            "zjxh": coded("Z", index, 12),
            "sfzh": citizen_ids(Citizens(holder, draw.seed), faults),
            "qfjg": pl.Series(["绍兴市公安局", "宁波市公安局"]).gather(draw.below("office", index, 2)),
            "qfrq": days(issued),
            "yxqz": days(issued + np.timedelta64(3650, "D")),
            "zwtz": r"\x" + print_.str.encode("hex"),
            "zt": draw.weigh("card state", index, {"正常": 96.0, "挂失": 3.0, "作废": 1.0}),
        }
    )
    return Made(frame, faults)


def _card_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    states = ("正常", "挂失", "作废")
    return pl.DataFrame({"id": index.astype(np.int64) + 1, "zt": draw.pick(f"card {version}", index, states)})


_MOVE_FAULTS = CITIZEN_ID | {"unknown_division": Fault(0.003)}


def _move(draw: Draw, index: Index) -> Made:
    faults = Faults(draw, "migration", index, _MOVE_FAULTS)
    mover = adult(draw, "mover", index)
    from_code = where(faults.has("unknown_division"), "990000", code_text(divisions(draw, "from", index)))
    frame = pl.DataFrame(
        {
            "id": index.astype(np.int64) + 1,
            "sfzh": citizen_ids(Citizens(mover, draw.seed), faults),
            "qylx": draw.weigh("move", index, {"迁入": 55.0, "迁出": 45.0}),
            "qcxzqh": from_code,
            "qrxzqh": code_text(divisions(draw, "to", index)),
            "qysj": stamps(times(draw, "moved", index)),
            "qyyy": draw.weigh(
                "why", index, {"工作调动": 40.0, "购房": 30.0, "婚姻": 20.0, "投靠亲属": 10.0}
            ),
        }
    )
    return Made(frame, faults)


def _move_revised(draw: Draw, index: Index, version: int) -> pl.DataFrame:
    why = ("工作调动", "购房", "婚姻", "投靠亲属")
    return pl.DataFrame({"id": index.astype(np.int64) + 1, "qyyy": draw.pick(f"why {version}", index, why)})


def _access(draw: Draw, index: Index) -> Made:
    last = pl.Series(draw.below("host", index, 250) + 1).cast(pl.String)
    frame = pl.DataFrame(
        {
            "czsj": stamps(times(draw, "accessed", index, 30)),
            "czy": coded("J0", draw.below("officer", index, 400), 5),
            "ip": "10.33." + pl.Series(draw.below("net", index, 60)).cast(pl.String) + "." + last,
            "czlx": draw.weigh("action", index, {"查询": 85.0, "登记": 10.0, "打印": 5.0}),
            "sfzh": Citizens(adult(draw, "looked up", index), draw.seed).ids(),
            "hs_ms": draw.below("took", index, 900) + 3,
            "cg": pl.Series(draw.share("worked", index) < 0.99),
        }
    )
    return Made(frame, Faults(draw, "access_log", index, {}))


TABLES = (
    Table(
        *("residence_permit", "hj.t_jzz", 50, ("jzzbh",), _permit, _PERMIT_FAULTS),
        number="substr(jzzbh, 2, 10)::bigint",
        revise=_permit_revised,
        fresh={"gxsj": "now"},
        touch="gxsj = now()",
        # A card is replaced: its number gains or loses the letter of a replacement.
        rekey="jzzbh = CASE WHEN t.jzzbh LIKE '%B' THEN rtrim(t.jzzbh, 'B') ELSE t.jzzbh || 'B' END",
        match="t.jzzbh IN (v.jzzbh, v.jzzbh || 'B')",
    ),
    Table(*("id_card", "hj.t_sfz", 80, ("id",), _card, CITIZEN_ID), number="id - 1", revise=_card_revised),
    Table(
        *("migration", "hj.t_qyxx", 33, ("id",), _move, _MOVE_FAULTS),
        number="id - 1",
        revise=_move_revised,
        fresh={"qysj": "now"},
    ),
    Table("access_log", "hj.t_cz_log", 50, (), _access, {}, fresh={"czsj": "now"}),
)
