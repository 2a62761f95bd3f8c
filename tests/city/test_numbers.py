"""Ids and codes of the sample city are valid, by a check written apart from their making."""

from __future__ import annotations

from datetime import date

import numpy as np

from examples.city.draw import Draw, text
from examples.city.market import codes
from examples.city.numbers import DIVISIONS, Citizens, mobiles

INDEX = np.arange(3000, dtype=np.uint64)


def is_citizen_id(number: str) -> bool:
    """GB 11643, straight from the standard: Σ of all 18 with weights 2^(18-i) mod 11 is 1."""
    values = [10 if character == "X" else int(character) for character in number]
    born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    return (
        sum(value * 2 ** (17 - place) for place, value in enumerate(values)) % 11 == 1 and born < date.today()
    )


def is_credit_code(code: str) -> bool:
    """GB 32100: Σ value × 3^i over all 18 is a multiple of 31 (with 3^17 = 22 for the check: by its rule)."""
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    total = sum(alphabet.index(character) * 3**place for place, character in enumerate(code[:17]))
    return len(code) == 18 and alphabet.index(code[17]) == (31 - total % 31) % 31


def is_organisation_code(code: str) -> bool:
    """GB 11714: letters count 10 … 35."""
    weights = (3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(character, 36) * weight for character, weight in zip(code[:8], weights, strict=True))
    return code[8] == {10: "X", 11: "0"}.get(11 - total % 11, str(11 - total % 11))


def test_the_checks_know_the_known() -> None:
    assert is_citizen_id("11010519491231002X") and is_citizen_id("360426199101010071")
    assert not is_citizen_id("110105194912310021")
    assert is_credit_code("91110000600037341L") and is_credit_code("11330600MB1573660P")
    assert not is_credit_code("91110000600037342L")


def test_citizen_ids_are_valid_and_nobody_shares_one() -> None:
    citizens = Citizens(INDEX, seed=7)
    ids, corrected = citizens.ids().to_list(), citizens.ids(corrected=True).to_list()
    assert all(is_citizen_id(number) for number in ids + corrected)
    assert len({*ids, *corrected}) == 2 * len(INDEX)
    assert {number[:6] for number in ids} == set(DIVISIONS)
    men = [int(number[16]) % 2 == 1 for number in ids]
    assert men == (citizens.sex == 1).tolist()
    assert [f"{day}".replace("-", "") for day in citizens.birth] == [number[6:14] for number in ids]
    assert 0.4 < np.mean(men) < 0.6


def test_credit_codes_are_valid_inside_and_out() -> None:
    made = text(codes(Draw(7), INDEX)).to_list()
    assert all(is_credit_code(code) and is_organisation_code(code[8:17]) for code in made)
    assert len(set(made)) == len(INDEX) and {code[2:8] for code in made} == set(DIVISIONS)


def test_mobiles_have_eleven_digits() -> None:
    made = mobiles(Draw(7).bits("mobile", INDEX))
    assert made.str.contains(r"^1[35789]\d{9}$").all()


def test_another_seed_is_another_city() -> None:
    assert Citizens(INDEX, 7).ids().to_list() == Citizens(INDEX, 7).ids().to_list()
    assert not set(Citizens(INDEX, 7).ids()) & set(Citizens(INDEX[:50], 8).ids()[:5])
