"""One column to one item of a contract: type, title, mapping, checks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.drafting import values
from connectors.drafting.roles import Role, by_name, role_of
from datarail.types import ItemType

#: Below this share of good values a hard check would hold too much at once: it is drafted soft.
_GOOD_SHARE = 0.8


@dataclass(slots=True, frozen=True)
class Sampled:
    """A column as the source describes it, with sampled values (no nulls). type: the source's
    own name of it; distinct: the share of the sample's values that occur once."""

    name: str
    type: str
    comment: str
    not_null: bool
    values: Sequence[str]
    distinct: float = 0.0


@dataclass(slots=True)
class Suggestion:
    """entry: the item's keys in the contract. role: what it means, None when nothing tells.
    note: what the draft's reader should know."""

    name: str
    entry: dict[str, Any]
    role: Role | None
    note: str = ""
    checks: list[Any] = field(default_factory=list)


def suggest(column: Sampled) -> Suggestion:
    """The item of a column. Cross-item checks are added later, by `connectors.drafting.feeding`."""
    role = _role(column)
    entry: dict[str, Any] = {}
    kind, precision, scale = item_type(column.type)
    if kind == "string" and column.values and values.share(column.values, values.is_date) >= _GOOD_SHARE:
        kind = "date"
    if kind == "string" and role is not None and role.name in ("birth_date", "established"):
        kind = "date"
    title = _title(column, role)
    if title:
        entry["title"] = title
    if kind != "string":
        entry["type"] = kind
    if precision is not None:
        entry |= {"precision": precision, "scale": scale}
    if role is not None and role.meaning:
        entry["meaning"] = role.meaning
    if role is not None and role.grade != "L2":
        entry["grade"] = role.grade
    made = Suggestion(column.name, entry, role)
    if column.not_null:
        made.checks.append("required")
    _checks(made, column)
    return made


def _role(column: Sampled) -> Role | None:
    role = role_of(column.name, column.comment)
    if role is not None and role.name in ("other_id",):
        return role
    text = [value for value in column.values if value.strip()]
    # Values that hold a check digit tell more than any name.
    if values.share(text, values.valid_citizen_id) >= _GOOD_SHARE:
        return role if role is not None and role.name == "other_id" else by_name("citizen_id")
    if values.share(text, values.valid_credit_code) >= _GOOD_SHARE:
        return by_name("credit_code")
    if role is not None and role.name == "citizen_id" and text:
        # 证件号码 may be any document's number.
        return role if values.share(text, values.looks_like_citizen_id) >= 0.5 else None
    if role is None and values.share(text, values.is_mobile) >= _GOOD_SHARE:
        return by_name("mobile")
    return role


def _title(column: Sampled, role: Role | None) -> str:
    if column.comment:
        return column.comment.strip().splitlines()[0][:60]
    if re.search(r"[\u4e00-\u9fff]", column.name):
        return column.name
    return role.title if role is not None else ""


def _checks(made: Suggestion, column: Sampled) -> None:
    name = made.role.name if made.role is not None else ""
    text = [value for value in column.values if value.strip()]
    if name in ("citizen_id", "other_id"):
        _check(made, "citizen_id", text, values.valid_citizen_id, name == "other_id")
    elif name == "credit_code":
        _check(made, "credit_code", text, values.valid_credit_code, False)
    elif name == "sex":
        if codes := values.codes_for(text, values.SEX_CODES):
            made.entry["codes"] = codes
        known = set(made.entry.get("codes", {})) | {"0", "1", "2", "9"}
        _check(made, "sex", text, lambda value: value.strip() in known, False)
    elif name == "ethnic":
        if codes := values.codes_for(text, values.ETHNIC_CODES):
            made.entry["codes"] = codes
    elif name == "division" and values.share(text, values.is_division) >= _GOOD_SHARE:
        made.checks.append("division")
    elif name in ("mobile", "phone") and values.share(text, values.is_mobile) >= 0.5:
        made.checks.append("mobile")
    elif name in ("birth_date", "established", "updated") and made.entry.get("type") in ("date", "timestamp"):
        made.checks.append({"check": "not_after", "severity": "soft"})


def _check(made: Suggestion, check: str, text: list[str], holds: Any, soft: bool) -> None:
    bad = 1 - values.share(text, holds) if text else 0.0
    if bad > 1 - _GOOD_SHARE:
        soft = True
    if bad:
        made.note = f"{bad:.0%} of the sample fail {check}"
    made.checks.append({"check": check, "severity": "soft"} if soft else check)


def item_type(source: str) -> tuple[ItemType, int | None, int | None]:
    """The item type of a PostgreSQL type as format_type names it, with precision and scale."""
    base = source.split("(")[0].strip()
    if source.endswith("[]"):
        return "string", None, None
    if base in ("smallint", "integer", "bigint", "oid"):
        return "integer", None, None
    if base == "numeric":
        if found := re.fullmatch(r"numeric\((\d+),(-?\d+)\)", source):
            precision, scale = int(found[1]), int(found[2])
            if precision <= 38 and 0 <= scale <= precision:
                return "decimal", precision, scale
        return "decimal", None, None
    if base in ("real", "double precision"):
        return "float", None, None
    if base == "boolean":
        return "boolean", None, None
    if base == "date":
        return "date", None, None
    if base.startswith("timestamp"):
        return "timestamp", None, None
    if base in ("json", "jsonb"):
        return "json", None, None
    if base == "bytea":
        return "bytes", None, None
    return "string", None, None
