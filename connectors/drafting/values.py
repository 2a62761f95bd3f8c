"""What sampled values look like: shares of a sample, 0 to 1."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID = re.compile(r"\d{17}[\dXx]")
_CODE_LETTERS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CODE = re.compile(f"[{_CODE_LETTERS}]{{18}}")
_MOBILE = re.compile(r"1[3-9]\d{9}")
_DIVISION = re.compile(r"[1-8]\d{5}")
_DATE = re.compile(r"(19|20)\d\d([-/.年]?)(0?[1-9]|1[0-2])([-/.月]?)(0?[1-9]|[12]\d|3[01])日?")

#: Spellings of the sexes met in the field → GB/T 2261.1.
SEX_CODES = {
    "男": "1", "男性": "1", "M": "1", "m": "1", "Male": "1", "male": "1", "男士": "1",
    "女": "2", "女性": "2", "F": "2", "f": "2", "Female": "2", "female": "2", "女士": "2",
    "未知": "0", "不详": "0", "未说明": "9",
}  # fmt: skip
#: Every sex written another way has its partner: a sample may hold only one of them.
_PARTNERS = (("男", "女"), ("男性", "女性"), ("M", "F"), ("m", "f"), ("Male", "Female"), ("male", "female"))

_ETHNIC_TEXT = (
    "汉 蒙古 回 藏 维吾尔 苗 彝 壮 布依 朝鲜 满 侗 瑶 白 "
    "土家 哈尼 哈萨克 傣 黎 傈僳 佤 畲 高山 拉祜 水 东乡 纳西 景颇 "
    "柯尔克孜 土 达斡尔 仫佬 羌 布朗 撒拉 毛南 仡佬 锡伯 阿昌 普米 塔吉克 怒 "
    "乌孜别克 俄罗斯 鄂温克 德昂 保安 裕固 京 塔塔尔 独龙 鄂伦春 赫哲 门巴 珞巴 基诺"
)
#: GB/T 3304, by name with and without 族.
ETHNIC_CODES = {
    name + suffix: f"{number:02d}"
    for number, name in enumerate(_ETHNIC_TEXT.split(), 1)
    for suffix in ("族", "")
}


def share(values: Sequence[str], holds: Callable[[str], bool]) -> float:
    """The share of values for which it holds; nothing sampled: 0."""
    return sum(1 for value in values if holds(value)) / len(values) if values else 0.0


def looks_like_citizen_id(text: str) -> bool:
    return _ID.fullmatch(text.strip()) is not None


def valid_citizen_id(text: str) -> bool:
    """GB 11643: form and check digit."""
    text = text.strip().upper()
    if not _ID.fullmatch(text):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(text, _WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == text[17]


def valid_credit_code(text: str) -> bool:
    """GB 32100: form and check character."""
    text = text.strip().upper()
    if not _CODE.fullmatch(text):
        return False
    total = sum(_CODE_LETTERS.index(letter) * pow(3, place, 31) for place, letter in enumerate(text[:17]))
    return _CODE_LETTERS[(31 - total % 31) % 31] == text[17]


def is_mobile(text: str) -> bool:
    return _MOBILE.fullmatch(text.strip()) is not None


def is_division(text: str) -> bool:
    return _DIVISION.fullmatch(text.strip()) is not None


def is_date(text: str) -> bool:
    return _DATE.fullmatch(text.strip()) is not None


def codes_for(values: Sequence[str], known: dict[str, str]) -> dict[str, str]:
    """The mappings a sample needs, partners included; nothing when it is in the standard's codes."""
    found = {value.strip() for value in values} & set(known)
    for pair in _PARTNERS:
        if known is SEX_CODES and found & set(pair):
            found |= set(pair)
    return {value: known[value] for value in sorted(found, key=lambda value: (known[value], value))}
