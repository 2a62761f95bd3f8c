"""What the values of one kind have in common: how they are read, and the rules they are judged by.

Items that their contracts describe alike are of one kind, whatever they are called and whatever
table they are in: texts without a rule, moments that must not be later than now, ids of citizens
with a day of birth beside them. Values of one kind are cleaned together (streams.values), so what
an expression costs to begin is paid by the kind, not by the table.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from datarail.contract import Item
from streams.plan import item_plan
from streams.rules import BUILDERS
from streams.rules.port import NOW, TODAY, Place, Rule


class Kind:
    """The kind of one item of a resource.

    signature: what items of one kind have in common, and others not. others: the items that the
    rules ask for beside this one, in the same order for all of a kind. Expressions are over columns
    by this item's and these others' names; the sentences of the rules use their titles.

    Raises ContractError where a check of the contract cannot be made a rule.
    """

    def __init__(self, name: str, items: Mapping[str, Item]) -> None:
        item = items[name]
        self.plan = item_plan(name, item)
        self.rules = rules_of(name, items)
        asked = [other for check in item.checks for other in check.others.values()]
        self.others = tuple(other for other in dict.fromkeys(asked) if other != name)
        self.wrong = [rule.wrong.alias(str(number)) for number, rule in enumerate(self.rules)]
        used = {column for rule in self.rules for column in rule.wrong.meta.root_names()}
        self.asks_now, self.asks_today = NOW in used, TODAY in used
        self.read = self.plan.first()
        self.doubts = self.plan.doubts()
        self.doubtful = self.plan.doubtful()
        self.signature = orjson.dumps([
            _type(item),
            list(item.codes.items()),
            [
                check.model_dump()
                | {field: [asked.index(other), _type(items[other])] for field, other in check.others.items()}
                for check in item.checks
            ],
        ])  # fmt: skip

    @property
    def alone(self) -> bool:
        """Whether its rules ask for nothing but the value as it is first read."""
        return not self.others and not (self.plan.codes and self.plan.is_text)


def rules_of(name: str, items: Mapping[str, Item]) -> list[Rule]:
    """The rules of one item, in the order of its checks. Raises ContractError as Kind does."""
    return [BUILDERS[check.check](Place(name, items), check) for check in items[name].checks]


def _type(item: Item) -> list[str | int]:
    return [item.type, item.precision, item.scale]
