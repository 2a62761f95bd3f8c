"""Bad data in known shares: what registers of the field really hold, one fault a row at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from examples.city.draw import Draw, Index, text
from examples.city.numbers import Citizens, with_check_digit

_FULL_WIDTH = str.maketrans("0123456789X", "０１２３４５６７８９Ｘ")
_NEXT_CHECK = {str(digit): str((digit + 1) % 10) for digit in range(10)} | {"X": "0"}
_ODD_DATES = ("%Y年%-m月%-d日", "%Y/%-m/%-d", "%Y%m%d", "%Y.%m.%d")


@dataclass(frozen=True)
class Fault:
    """How often a kind of fault occurs; `held`: the sample contracts hold such a change."""

    share: float
    held: bool = False


#: Faults of a citizen id column whose contract is hard on it.
CITIZEN_ID = {
    "wrong_check_digit": Fault(0.008, held=True),
    "impossible_birth": Fault(0.003, held=True),
    "future_birth": Fault(0.001, held=True),
    "too_short": Fault(0.001, held=True),
    "full_width_digits": Fault(0.005),
    "lower_case_x": Fault(0.04),  # of which only ids ending in X can have it: one in eleven
    "fifteen_digits": Fault(0.003),
    "blanks": Fault(0.005),
}


class Faults:
    """Which fault each row of a table has. The draw depends on (seed, resource, number) alone."""

    def __init__(self, draw: Draw, resource: str, index: Index, kinds: Mapping[str, Fault]) -> None:
        self.kinds = dict(kinds)
        edges = np.cumsum([fault.share for fault in kinds.values()])
        self._place = np.searchsorted(edges, draw.share(f"{resource} fault", index), side="right")

    def has(self, kind: str, possible: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.bool_]:
        """The rows with this fault. Rows where it is not `possible` are freed of it for good."""
        if kind not in self.kinds:
            return np.zeros(len(self._place), dtype=bool)
        number = list(self.kinds).index(kind)
        if possible is not None:
            self._place[(self._place == number) & ~possible] = len(self.kinds)
        return np.asarray(self._place == number)

    def any(self) -> npt.NDArray[np.bool_]:
        """The rows with any fault."""
        return np.asarray(self._place < len(self.kinds))

    def counts(self) -> dict[str, int]:
        """Rows by kind of fault."""
        numbers = np.bincount(self._place, minlength=len(self.kinds) + 1)
        return {kind: int(count) for kind, count in zip(self.kinds, numbers, strict=False)}


def where(mask: npt.NDArray[np.bool_], then: pl.Series | str | None, otherwise: pl.Series) -> pl.Series:
    """Row by row one of two."""
    chosen = pl.lit(then, dtype=otherwise.dtype) if not isinstance(then, pl.Series) else then
    return pl.select(pl.when(pl.Series(mask)).then(chosen).otherwise(otherwise)).to_series()


def citizen_ids(citizens: Citizens, faults: Faults) -> pl.Series:
    """The ids of these people, as a register with these faults spells them."""
    body = citizens.body()
    body[np.flatnonzero(faults.has("impossible_birth"))[:, None], np.arange(10, 14)] = np.frombuffer(
        b"0230", dtype=np.uint8
    )
    body[np.flatnonzero(faults.has("future_birth"))[:, None], np.arange(6, 10)] = np.frombuffer(
        b"2098", dtype=np.uint8
    )
    ids = text(with_check_digit(body))
    wrong = ids.str.slice(0, 17) + ids.str.slice(17).replace_strict(_NEXT_CHECK)
    ids = where(faults.has("wrong_check_digit"), wrong, ids)
    ids = where(faults.has("too_short"), ids.str.slice(0, 17), ids)
    ends_in_x = ids.str.ends_with("X").to_numpy()
    ids = where(faults.has("lower_case_x", ends_in_x), ids.str.to_lowercase(), ids)
    before_2000 = citizens.birth < np.datetime64("2000-01-01")
    fifteen = ids.str.slice(0, 6) + ids.str.slice(8, 9)
    ids = where(faults.has("fifteen_digits", before_2000), fifteen, ids)
    return blanks_and_width(ids, faults)


def blanks_and_width(values: pl.Series, faults: Faults) -> pl.Series:
    """Blanks around, or full-width digits, where the row has that fault."""
    values = where(faults.has("blanks"), " " + values + "　", values)
    if (wide := faults.has("full_width_digits")).any():
        spelled = [str(value).translate(_FULL_WIDTH) for value in values.filter(pl.Series(wide))]
        values = values.scatter(np.flatnonzero(wide), spelled)
    return values


def dates(days: npt.NDArray[np.datetime64], faults: Faults) -> pl.Series:
    """Dates in a text column: ISO, or spelled as people do, or no date at all."""
    column = pl.Series(days.astype("datetime64[ms]")).cast(pl.Date)
    spelled = column.dt.to_string("%Y-%m-%d")
    odd = faults.has("odd_date")
    for number, pattern in enumerate(_ODD_DATES):
        here = odd & (np.arange(len(days)) % len(_ODD_DATES) == number)
        if here.any():
            spelled = where(here, column.dt.to_string(pattern), spelled)
    return where(faults.has("unreadable_date"), "不详", spelled)


def wrong_code(codes: npt.NDArray[np.uint8], faults: Faults) -> pl.Series:
    """Credit codes, some with another check character (one the alphabet knows)."""
    wrong = faults.has("wrong_credit_code")
    codes[wrong, 17] = np.where(codes[wrong, 17] == ord("1"), ord("2"), ord("1"))
    return text(codes)
