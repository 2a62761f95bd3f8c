"""Citizen ids, credit codes and mobile numbers: valid by their standards, each used once.

GB 11643-1999 (citizen id), GB 32100-2015 (unified social credit code), GB 11714-1997
(organisation code, inside it). A row number becomes an id by a bijection, so ids never meet.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from examples.city.draw import Index, digits, text

#: Divisions of Shaoxing and Ningbo as of today (GB/T 2260).
DIVISIONS = {
    "330602": "绍兴市越城区", "330603": "绍兴市柯桥区", "330604": "绍兴市上虞区", "330624": "绍兴市新昌县",
    "330681": "绍兴市诸暨市", "330683": "绍兴市嵊州市", "330203": "宁波市海曙区", "330205": "宁波市江北区",
    "330206": "宁波市北仑区", "330211": "宁波市镇海区", "330212": "宁波市鄞州区", "330213": "宁波市奉化区",
    "330225": "宁波市象山县", "330226": "宁波市宁海县", "330281": "宁波市余姚市", "330282": "宁波市慈溪市",
}  # fmt: skip
#: Codes that people born under them still carry: right on their day.
FORMER = {"330602": "330601", "330603": "330621", "330604": "330682", "330213": "330283"}
CODES = np.array([int(code) for code in DIVISIONS], dtype=np.int64)

_ADULTS = np.datetime64("1935-01-01"), np.datetime64("2006-01-01")
_CHILDREN = np.datetime64("2008-01-01"), np.datetime64("2025-01-01")
#: Order numbers 000–499 are given at birth; a corrected number is 500 higher, of the same sex.
_ORDERS = 500
_CITIZEN_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2])
_CITIZEN_CHECK = np.frombuffer(b"10X98765432", dtype=np.uint8)

CREDIT_ALPHABET = b"0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT = np.frombuffer(CREDIT_ALPHABET, dtype=np.uint8)
_CREDIT_WEIGHTS = np.array([pow(3, i, 31) for i in range(17)])
_ORGANISATION_WEIGHTS = np.array([3, 7, 9, 10, 5, 8, 4, 2])
_ORGANISATION_CHECK = np.frombuffer(b"0123456789X0", dtype=np.uint8)


class Citizens:
    """What a citizen id of row number `index` says: every third person is a child.

    division: six digits; birth: datetime64[D]; sex: 1 male, 2 female; order: 0–499.
    """

    def __init__(self, index: Index, seed: int) -> None:
        child = index % np.uint64(3) == 2
        order, birth, division = _citizen(
            index // np.uint64(3) * np.uint64(2) + index % np.uint64(3), seed, _ADULTS
        )
        for whole, part in zip(
            (order, birth, division), _citizen(index // np.uint64(3), seed, _CHILDREN), strict=True
        ):
            whole[child] = part[child]
        self.order, self.birth, self.division = order, birth, division
        self.sex = np.where(order % 2 == 1, 1, 2)

    def body(self, corrected: bool = False) -> npt.NDArray[np.uint8]:
        """The first 17 characters as ASCII digits."""
        year, rest = self.birth.astype("datetime64[Y]"), self.birth.astype("datetime64[M]")
        month = (rest - year.astype("datetime64[M]")).astype(np.int64) + 1
        day = (self.birth - rest.astype("datetime64[D]")).astype(np.int64) + 1
        when = (year.astype(np.int64) + 1970) * 10_000 + month * 100 + day
        order = self.order + (_ORDERS if corrected else 0)
        return np.hstack([digits(self.division, 6), digits(when, 8), digits(order, 3)])

    def ids(self, corrected: bool = False) -> pl.Series:
        """18 characters."""
        return text(with_check_digit(self.body(corrected)))


def with_check_digit(body: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """GB 11643: the 18th character after 17 digits."""
    remainder = (body.astype(np.int64) - ord("0")) @ _CITIZEN_WEIGHTS % 11
    return np.hstack([body, _CITIZEN_CHECK[remainder][:, None]])


def credit_codes(index: Index, seed: int, division: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """GB 32100: 91 (a firm), division, organisation code MA……, check: 18 characters a row."""
    number = _scatter(index, seed, 31**6)
    letters = _CREDIT[number[:, None] // 31 ** np.arange(5, -1, -1) % 31]
    organisation = np.hstack([np.tile(np.frombuffer(b"MA", dtype=np.uint8), (len(index), 1)), letters])
    # GB 11714 counts A as 10 … Z as 35, with no letter left out.
    values = np.where(organisation < ord("A"), organisation - ord("0"), organisation - ord("A") + 10)
    check = _ORGANISATION_CHECK[11 - values.astype(np.int64) @ _ORGANISATION_WEIGHTS % 11]
    prefix = np.tile(np.frombuffer(b"91", dtype=np.uint8), (len(index), 1))
    body = np.hstack([prefix, digits(division, 6), organisation, check[:, None]])
    total = np.searchsorted(_CREDIT, body).astype(np.int64) @ _CREDIT_WEIGHTS % 31
    return np.hstack([body, _CREDIT[(31 - total) % 31][:, None]])


def mobiles(bits: Index) -> pl.Series:
    """1, a carrier's digit, nine more."""
    second = np.array([3, 5, 7, 8, 9])[(bits % np.uint64(5)).astype(np.int64)]
    rest = (bits >> np.uint64(8)) % np.uint64(10**9)
    return text(np.hstack([digits(np.full(len(bits), 1), 1), digits(second, 1), digits(rest, 9)]))


def _citizen(
    number: Index, seed: int, between: tuple[np.datetime64, np.datetime64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.datetime64], npt.NDArray[np.int64]]:
    days = int((between[1] - between[0]).astype(int))
    place = _scatter(number, seed, len(CODES) * days * _ORDERS)
    birth = between[0] + (place // _ORDERS % days).astype("timedelta64[D]")
    return place % _ORDERS, birth, CODES[place // (_ORDERS * days)]


def _scatter(number: Index, seed: int, size: int) -> npt.NDArray[np.int64]:
    """A bijection of 0 … size - 1 that puts neighbours far apart."""
    step = int(size * 0.6180339887) + seed % 1009
    while np.gcd(step, size) != 1:
        step += 1
    shift = np.uint64(seed * 7919 % size)
    return ((number % np.uint64(size) * np.uint64(step) + shift) % np.uint64(size)).astype(np.int64)
