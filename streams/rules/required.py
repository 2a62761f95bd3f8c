"""A value must be there; blanks alone are none."""

from __future__ import annotations

from datarail.contract import Required
from streams.rules.port import Place, Reason, Rule


def build(place: Place, check: Required) -> Rule:
    return Rule(
        "required",
        place.name,
        place.typed().is_null(),
        (Reason(check.severity, "completeness", lambda t, _: f"“{t}”为必填项，不能为空，请补填"),),
        lambda row: row[place.name] is not None,
    )
