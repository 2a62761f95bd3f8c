"""The rules: one small file per standard, found by the name of the check in a contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streams.rules import (
    citizen_id,
    credit_code,
    division,
    length,
    mobile,
    not_after,
    one_of,
    pattern,
    range,
    required,
    sex,
)
from streams.rules.port import Mend, Place, Reason, Rule

__all__ = ["BUILDERS", "MENDS", "Mend", "Place", "Reason", "Rule"]

#: By check name (datarail.contract): builds the rule for one item.
BUILDERS: dict[str, Callable[[Place, Any], Rule]] = {
    "required": required.build,
    "length": length.build,
    "range": range.build,
    "pattern": pattern.build,
    "one_of": one_of.build,
    "citizen_id": citizen_id.build,
    "credit_code": credit_code.build,
    "sex": sex.build,
    "division": division.build,
    "mobile": mobile.build,
    "not_after": not_after.build,
}

#: By check name: how values are put right before any rule sees them.
MENDS: dict[str, Mend] = {
    "citizen_id": citizen_id.MEND,
    "credit_code": credit_code.MEND,
    "division": division.MEND,
    "sex": sex.MEND,
    "mobile": mobile.MEND,
}
