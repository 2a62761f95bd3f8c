"""One batch of a partition → what the stores are to be told of it, with what they know already.

The contributions are read, and of Redis what a change has left out; Redis is told of a truncate at once.
A large batch is handed on some source keys at a time (sinks.themes.under_way).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from datarail.train import Car
from sinks.contributions import key_prefix
from sinks.held import Held
from sinks.latest import Latest
from sinks.latest_few import FewLatest
from sinks.partition import Partition, not_void, truncate_note
from sinks.reduced import Reduced, last_of_each
from sinks.texts import as_bytes
from sinks.themes.changes import Changes
from sinks.themes.few import is_plain, land_few
from sinks.themes.former import asked_of_redis, lacks, with_former
from sinks.themes.golden import Golden
from sinks.themes.landing import Landing, land, land_held, withdrawals
from sinks.themes.plan import ResourcePlan
from sinks.themes.table import Cleared
from sinks.unchanged import with_remembered
from sinks.version import VERSION_WIDTH

#: Source keys made ready at a time: the stores are told of some while the next are.
AT_ONCE = 8192


@dataclass(slots=True)
class _Ready:
    """What of a batch has been made ready and not handed on."""

    hand_on: Callable[[Landing], None]
    landing: Landing = field(default_factory=Landing)

    def hand_on_if_large(self) -> None:
        if len(self.landing.keys) >= AT_ONCE:
            self.hand_on(self.landing)
            self.landing = Landing()


class Making:
    """Batches of all stations. plans: by station and resource. Raises Transient when Redis is away."""

    def __init__(self, plans: Mapping[str, Mapping[str, ResourcePlan]], golden: Golden) -> None:
        self._plans = plans
        self._golden = golden

    def reduced(
        self, batches: Sequence[tuple[Partition, Mapping[str, list[Car]]]]
    ) -> list[Iterator[tuple[str, Reduced]]]:
        """Of each partition's cars, by resource, the last change of each source key. It asks nothing of
        the partitions' stores."""
        return last_of_each([(self._plans.get(part.station, {}), cars) for part, cars in batches], is_plain)

    def landing(
        self,
        part: Partition,
        by_resource: Iterable[tuple[str, Reduced]],
        hand_on: Callable[[Landing], None],
    ) -> Landing:
        """What the stores are to be told of a batch, reduced by resource: the rest of it. hand_on: is
        given what comes before, as soon as it has AT_ONCE source keys."""
        ready = _Ready(hand_on)
        for resource, reduced in by_resource:
            plan = self._plans[part.station][resource]
            if isinstance(reduced, FewLatest):
                self._gather_few(ready.landing, part, plan, reduced)
                continue
            landing, truncated = ready.landing, part.truncated(resource)
            if reduced.truncated is not None:
                version, commit = reduced.truncated
                landing.cleared.append(Cleared(plan.station, resource, part.number, version, commit))
                if version.encode() > (truncated or b""):
                    truncated = version.encode()
                    self._truncate(part, plan, truncated)
                    landing.notes.append((truncate_note(resource), truncated))
            self._gather(ready, part, plan, not_void(reduced, truncated), truncated)
        return ready.landing

    def _gather(
        self, ready: _Ready, part: Partition, plan: ResourcePlan, reduced: Latest, truncated: bytes | None
    ) -> None:
        prefix = key_prefix(plan.resource)
        own: tuple[list[bytes], list[bytes]] = ([], [])
        for some in reduced.parts(AT_ONCE):
            keys = [prefix + key for key in as_bytes(some.good["_key"])]
            known = part.known(keys, truncated)
            some.good, some.unchanged = with_remembered(
                some.good, some.unchanged, some.tellers, known, plan.items
            )
            if lacking := lacks(some.good["_key"], some.unchanged, known):
                answers = self._golden.read(asked_of_redis(lacking, some.good["_key"], plan))
                some.good = with_former(some.good, lacking, answers, plan)
            start = len(ready.landing.keys)
            land(ready.landing, some, keys, known, plan, part.number)
            if reduced.held:
                own[0].extend(ready.landing.keys[start:])
                own[1].extend(ready.landing.values[start:])
            ready.hand_on_if_large()
        self._gather_held(ready.landing, part, plan, reduced.held, truncated, own)

    def _gather_few(self, landing: Landing, part: Partition, plan: ResourcePlan, reduced: FewLatest) -> None:
        truncated = part.truncated(plan.resource)
        reduced = reduced.without_void(truncated)
        prefix = key_prefix(plan.resource)
        keys = [prefix + row.key.encode() for row in reduced.good]
        start = len(landing.keys)
        land_few(landing, reduced, part.known(keys, truncated), plan, part.number)
        own = landing.keys[start:], landing.values[start:]
        self._gather_held(landing, part, plan, reduced.held, truncated, own)

    def _gather_held(
        self,
        landing: Landing,
        part: Partition,
        plan: ResourcePlan,
        held: Sequence[Held],
        truncated: bytes | None,
        own: tuple[Sequence[bytes], Sequence[bytes]],
    ) -> None:
        """own: keys and values of what this batch's good changes of the resource contribute."""
        if held:
            prefix = key_prefix(plan.resource)
            keys = [prefix + each.key.encode() for each in held]
            land_held(landing, held, part.known_after(keys, truncated, *own), plan)

    def _truncate(self, part: Partition, plan: ResourcePlan, version: bytes) -> None:
        """Withdraw all older contributions of the resource, chunk by chunk. A crash between two
        chunks is mended by the same truncate coming again: the mark has not moved."""
        prefix = len(key_prefix(plan.resource))
        for chunk in part.contributions.scan(plan.resource):
            older = [(key, value) for key, value in chunk if value[:VERSION_WIDTH] < version]
            changes = Changes()
            for key, value in older:
                for change in withdrawals(plan, key[prefix:].decode(), value, version):
                    changes.append(change)
            self._golden.apply(changes)
            part.contributions.forget(key for key, _ in older)
