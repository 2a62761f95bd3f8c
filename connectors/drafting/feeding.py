"""Which theme store a table feeds, and the checks across its items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connectors.drafting.suggest import Suggestion

#: Fields of a store by the roles that may fill them, the first that the table has.
POPULATION: dict[str, tuple[str, ...]] = {
    "name": ("person_name",),
    "sex": ("sex",),
    "birth_date": ("birth_date",),
    "ethnic": ("ethnic",),
    "division": ("division",),
    "address": ("address",),
    "residence": ("residence",),
    "mobile": ("mobile", "phone"),
    "marital_status": ("marital_status",),
    "education": ("education",),
    "occupation": ("occupation",),
    "household_no": ("household_no",),
    "relation": ("relation",),
    "status": ("person_status",),
}
LEGAL_ENTITY: dict[str, tuple[str, ...]] = {
    "name": ("firm_name", "person_name"),
    "kind": ("firm_kind",),
    "legal_person": ("legal_person",),
    "legal_person_id": ("other_id",),
    "capital": ("capital",),
    "established": ("established",),
    "industry": ("industry",),
    "division": ("division",),
    "address": ("firm_address", "address"),
    "phone": ("phone", "mobile"),
    "status": ("firm_status",),
}
#: Fewer fields besides the key tell of a table about something else that mentions a person or firm.
_LEAST_FIELDS = 2
#: Where ids repeat more than this, a row is an event of somebody, not somebody.
_LEAST_DISTINCT = 0.9


def feeds(items: Sequence[Suggestion], distinct: dict[str, float]) -> list[dict[str, Any]]:
    """The feeds of a table, none when nothing maps sensibly. distinct: by item, of its sample."""
    by_role: dict[str, str] = {}
    for item in items:
        if item.role is not None:
            by_role.setdefault(item.role.name, item.name)
    # A firm's row that names a person is the firm's.
    for store, key_role, fields in (
        ("legal_entity", "credit_code", LEGAL_ENTITY),
        ("population", "citizen_id", POPULATION),
    ):
        key = by_role.get(key_role)
        if key is None or distinct.get(key, 0.0) < _LEAST_DISTINCT:
            continue
        mapped = {
            field: next(by_role[role] for role in roles if role in by_role)
            for field, roles in fields.items()
            if any(role in by_role for role in roles)
        }
        if "name" in mapped and len(mapped) >= _LEAST_FIELDS:
            return [{"store": store, "key": key, "fields": mapped}]
    return []


def cross_checks(items: Sequence[Suggestion]) -> None:
    """Let the citizen id of a person's row be compared with sex and birth date beside it."""
    ids = [item for item in items if item.role is not None and item.role.name == "citizen_id"]
    others = {item.role.name: item.name for item in items if item.role is not None}
    if len(ids) != 1:
        return
    beside = {
        word: others[role] for word, role in (("sex", "sex"), ("birth", "birth_date")) if role in others
    }
    for number, check in enumerate(ids[0].checks):
        name = check if isinstance(check, str) else check["check"]
        if name == "citizen_id" and beside:
            given = {"check": "citizen_id"} if isinstance(check, str) else check
            ids[0].checks[number] = {**given, **beside}
