"""The contract of a station: what a department's system promises, one YAML file per station.

`stations/<department>.<system>.yaml`. Read and checked by datarail.contract_file; every other
part of the line is given these values and never opens the file itself.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from datarail.types import ItemType

Severity = Literal["hard", "soft"]
Grade = Literal["L1", "L2", "L3", "L4"]
Share = Literal["unconditional", "conditional", "none"]
Dimension = Literal[
    "completeness", "conformity", "accuracy", "consistency", "uniqueness", "referential", "timeliness"
]
StoreName = Literal["population", "legal_entity", "credit", "licence", "governance", "spatial"]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Check(Model):
    """What all checks have. hard: a failing change is held in quarantine; soft: it is flagged."""

    severity: Severity = "hard"

    @property
    def others(self) -> dict[str, str]:
        """The other items that it asks for, by the field that names them."""
        return {}


class Required(Check):
    check: Literal["required"] = "required"


class Length(Check):
    """Characters, not bytes."""

    check: Literal["length"] = "length"
    min: int = 0
    max: int | None = None


class Range(Check):
    """Numbers, or ISO dates and timestamps as text; both ends included."""

    check: Literal["range"] = "range"
    min: float | str | None = None
    max: float | str | None = None


class Pattern(Check):
    """A regular expression (Rust regex syntax) that the whole value must match."""

    check: Literal["pattern"] = "pattern"
    regex: str


class OneOf(Check):
    check: Literal["one_of"] = "one_of"
    values: list[str]


class CitizenId(Check):
    """GB 11643. Length, characters, check digit, birth date: as `severity`; unknown division,
    age over 120, disagreement with the sex or birth item: always soft."""

    check: Literal["citizen_id"] = "citizen_id"
    sex: str | None = None
    birth: str | None = None

    @property
    def others(self) -> dict[str, str]:
        return {field: item for field, item in (("sex", self.sex), ("birth", self.birth)) if item}


class CreditCode(Check):
    """GB 32100 unified social credit code."""

    check: Literal["credit_code"] = "credit_code"


class Sex(Check):
    """GB/T 2261.1: 0, 1, 2, 9."""

    check: Literal["sex"] = "sex"


class Division(Check):
    """GB/T 2260: six digits of a known province."""

    check: Literal["division"] = "division"
    severity: Severity = "soft"


class Mobile(Check):
    """1 and ten digits."""

    check: Literal["mobile"] = "mobile"
    severity: Severity = "soft"


class NotAfter(Check):
    """Across items: this item must not be later than another, or than `now`."""

    check: Literal["not_after"] = "not_after"
    other: str = "now"

    @property
    def others(self) -> dict[str, str]:
        return {} if self.other == "now" else {"other": self.other}


AnyCheck = Annotated[
    Required | Length | Range | Pattern | OneOf | CitizenId | CreditCode | Sex | Division | Mobile | NotAfter,
    Field(discriminator="check"),
]


class Item(Model):
    """One data item (a column). `codes` maps the source's own spelling to the standard's."""

    type: ItemType = "string"
    precision: int = Field(default=38, ge=1, le=38)
    scale: int = Field(default=6, ge=0, le=38)
    title: str = ""
    meaning: str = ""
    codes: dict[str, str] = Field(default_factory=dict)
    grade: Grade = "L2"
    checks: tuple[AnyCheck, ...] = ()

    @field_validator("checks", mode="before")
    @classmethod
    def _named_checks(cls, value: Any) -> Any:
        # `- required` is short for `- {check: required}`
        if isinstance(value, list):
            return [{"check": entry} if isinstance(entry, str) else entry for entry in value]
        return value


class Feed(Model):
    """How a resource feeds a theme store: whose record, and which of its fields."""

    store: StoreName
    key: list[str]
    fields: dict[str, str]

    @field_validator("key", mode="before")
    @classmethod
    def _one_key(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class Resource(Model):
    """One table of the system. An empty key means the table has none: inserts only."""

    table: str
    title: str = ""
    key: list[str] = Field(default_factory=list)
    share: Share = "conditional"
    items: dict[str, Item]
    only: dict[str, list[str]] = Field(default_factory=dict)
    feeds: tuple[Feed, ...] = ()

    @field_validator("key", mode="before")
    @classmethod
    def _one_key(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _items_exist(self) -> Resource:
        named: list[tuple[str, str]] = [("key", item) for item in self.key]
        named += [("only", item) for item in self.only]
        for feed in self.feeds:
            named += [("feeds.key", item) for item in feed.key]
            named += [("feeds.fields", item) for item in feed.fields.values()]
        for item in self.items.values():
            named += [(check.check, other) for check in item.checks for other in check.others.values()]
        for place, item_name in named:
            if item_name not in self.items:
                raise ValueError(f"{place} names the item {item_name!r}, which is not among items")
        return self

    @property
    def schema_name(self) -> str:
        return self.table.rpartition(".")[0] or "public"

    @property
    def table_name(self) -> str:
        return self.table.rpartition(".")[2]


class Secret(Model):
    """Where a password is: an environment variable or a file, never the contract itself."""

    env: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Secret:
        if (self.env is None) == (self.file is None):
            raise ValueError("a password is either {env: NAME} or {file: PATH}")
        return self


class SnapshotPlan(Model):
    """How the first load reads: rows a chunk, and a cap in rows a second (null: none)."""

    chunk_rows: int = Field(default=100_000, ge=100)
    rows_per_second: int | None = Field(default=None, ge=1)


class Source(Model):
    """The connection. `url` may use ${VARIABLE} from the environment; it holds no password."""

    kind: str = "postgres"
    url: str
    password: Secret | None = None
    slot: str | None = None
    publication: str | None = None
    managed: bool = True  # false: slot and publication are as the DBA made them
    snapshot: SnapshotPlan = SnapshotPlan()


class Party(Model):
    """A department or system: its code in names and topics, its title for people."""

    code: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = ""


class Contract(Model):
    """One station."""

    department: Party
    system: Party
    owner: str = ""
    source: Source
    resources: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]+$")], Resource]

    @property
    def station(self) -> str:
        return f"{self.department.code}.{self.system.code}"

    @property
    def name(self) -> str:
        """A name fit for slots and publications: lower case letters, digits, underscores."""
        return f"datarail_{self.department.code}_{self.system.code}"
