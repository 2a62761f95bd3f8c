"""Golden records in Redis: one hash per record, one field per contribution, guarded by a script.

    golden:{population/33060219900101001X}   <station>/<resource>/<source key> → contribution
    themes:{train.police.household/0}        the mark: trains up to it have been applied
    themes:{train.police.household/0}:begun  the offset up to which batches have begun to be

The script compares versions contribution by contribution: an older one never overwrites a newer
one, whoever sends it and however often. Only a last call, after all others have succeeded, moves
the mark. Many records go in one call; in a cluster, those of one slot.

A batch of which nothing can be there yet (all that has begun is known to this process) need not be
compared: its contributions are set as they are, as long as nobody else moves the mark or begins.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import redis
from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError

from datarail.errors import Terminal, Transient
from datarail.position import Mark
from sinks.redis_calls import Commands, passing, send, watched
from sinks.themes.build import GOLDEN_PREFIX
from sinks.themes.changes import Changes, Sets

log = logging.getLogger(__name__)

#: Withdrawn contributions guard against older ones that come late. A record with nothing else
#: in it goes after this many seconds.
_TOMBSTONE_SECONDS = 7 * 86_400
#: Records a call: longer calls would keep readers waiting (some 3 µs each).
_RECORDS = 500

# Hex digits compare as text as their numbers do. Positions as in sinks.themes.build.
_APPLY = f"""
local mark, known = ARGV[1], ARGV[2]
local first = 1
if mark ~= '' then
  first = 2
  local there = redis.call('GET', KEYS[1]) or ''
  local at = tonumber(string.match(there, '^%d+')) or -1
  local expected = tonumber(string.match(known, '^%d+')) or -1
  if at < expected then return there end
  if at >= tonumber(string.match(mark, '^%d+')) then mark = '' end
end
local from = 3
for i = first, #KEYS do
  local key, field, new = KEYS[i], ARGV[from], ARGV[from + 1]
  from = from + 2
  local old = redis.call('HGET', key, field)
  if string.byte(new) == 72 then
    local version = string.sub(new, 2, 33)
    if old and string.byte(old, 42) == 104 and string.sub(old, 7, 38) < version then
      local rest = string.match(old, '^%d+(.*)$', 45)
      redis.call('HSET', key, field, '{{"v":"' .. version .. '","h":' .. string.sub(new, 34) .. rest)
    end
  elseif not old or string.sub(old, 7, 38) <= string.sub(new, 7, 38) then
    redis.call('HSET', key, field, new)
    if string.byte(new, 42) == 100 then
      local alive = false
      for _, text in ipairs(redis.call('HVALS', key)) do
        if string.byte(text, 42) ~= 100 then alive = true break end
      end
      if not alive then redis.call('EXPIRE', key, {_TOMBSTONE_SECONDS}) end
    elseif not old or string.byte(old, 42) == 100 then
      redis.call('PERSIST', key)
    end
  end
end
if mark ~= '' then redis.call('SET', KEYS[1], mark) end
return false
"""

# That a batch has begun, which is noted where the mark is the one its process knows and no other process
# has begun a batch since.
_BEGIN = """
local mark, begun = redis.call('GET', KEYS[1]) or '', redis.call('GET', KEYS[2]) or ''
if (ARGV[1] ~= '*' and mark ~= ARGV[1]) or (begun ~= ARGV[2] and begun ~= ARGV[3]) then
  return {mark, begun}
end
if begun ~= ARGV[3] then redis.call('SET', KEYS[2], ARGV[3]) end
return false
"""


@dataclass(slots=True)
class Turn:
    """One batch's turn at the golden records. mark: the one Redis has, as far as is known here; begun:
    up to which offset batches have begun there; end: this one's offset after. sure: Redis can have
    nothing of it yet; no more once a call has failed."""

    topic: str
    partition: int
    mark: Mark | None
    begun: int | None
    end: int
    sure: bool

    @property
    def known(self) -> str:
        """The mark as Redis has it."""
        return self.mark.text() if self.mark else ""

    def fence(self, *, sure: bool) -> list[str]:
        """What _BEGIN is told."""
        return [self.known if sure else "*", "" if self.begun is None else str(self.begun), str(self.end)]


class Golden:
    """The Redis edge. Raises Transient when Redis is away, Terminal when it has lost its data."""

    def __init__(self, client: redis.Redis | RedisCluster) -> None:
        self._client: Any = client
        self._scripts: dict[str, str] = {}  # the name Redis has given each
        self._cluster = isinstance(client, RedisCluster)

    def mark(self, topic: str, partition: int) -> Mark | None:
        with passing():
            text = self._client.get(mark_key(topic, partition))
        return Mark.parse(text.decode()) if text else None

    def begun(self, topic: str, partition: int) -> int | None:
        """Up to which offset batches have begun to be applied, by whatever process."""
        with passing():
            text = self._client.get(begun_key(topic, partition))
        return int(text) if text else None

    def set_mark(self, topic: str, partition: int, mark: Mark, begun: int) -> None:
        """Set it whatever was there: a partition that is being derived anew."""
        with passing():
            self._client.set(begun_key(topic, partition), begun)
            self._client.set(mark_key(topic, partition), mark.text())

    def apply(self, changes: Changes) -> None:
        """Apply changes, in order for each record, whoever else may."""
        with passing():
            self._call(self._compared(changes))

    def apply_some(self, changes: Changes, turn: Turn) -> None:
        """Apply some changes of a batch, and note before them that it has begun."""
        # In doubt until Redis has answered.
        sure, turn.sure = turn.sure and not self._cluster, False
        keys = [mark_key(turn.topic, turn.partition), begun_key(turn.topic, turn.partition)]
        with passing():
            if there := self._call([(_BEGIN, [2, *keys, *turn.fence(sure=sure)])])[0]:
                raise _somebody_else(turn, *there)
            if sure:
                self._set(changes.sets, keys, turn)
                changes = changes.without_sets()
            if changes:
                self._call(self._compared(changes))
        turn.sure, turn.begun = sure, turn.end

    def _set(self, sets: Sequence[Sets], keys: Sequence[bytes], turn: Turn) -> None:
        """Set contributions of which Redis can have nothing yet as they are, without a look at what is
        there; none, where the batch is no longer the one that has begun."""
        if not sets:
            return
        known = [turn.known.encode() or None, str(turn.end).encode()]
        with watched(self._client, keys) as watch:
            for commands in _in_calls(sets):
                if watch.values != known or not watch.together(commands):
                    raise _somebody_else(turn, *watch.values)

    def apply_and_mark(self, changes: Changes, turn: Turn, mark: Mark) -> None:
        """Apply the rest of a batch's changes, then move the mark on from the one known (or a later one)."""
        last = Changes()
        if self._cluster or len(changes) > _RECORDS:
            self.apply_some(changes, turn)
        else:
            last = changes
        place = mark_key(turn.topic, turn.partition)
        arguments = _arguments(last.one_by_one(), place, mark.text(), turn.known)
        sure, turn.sure = turn.sure, False
        with passing():
            there = self._call([(_APPLY, arguments)])[0]
        turn.sure = sure
        if there is not None:
            raise Terminal(
                f"Redis has gone back to {there.decode() or 'nothing'} for {turn.topic}/{turn.partition}, "
                f"{turn.known or 'nothing'} was acknowledged",
                part="themes",
                remedy="started again, the sink derives the partition anew",
            )

    def read(self, contributions: Sequence[tuple[bytes, bytes]]) -> list[dict[str, Any] | None]:
        """The values, by field, of contributions (key and field) as they are now; of one withdrawn, those
        that the change did not bring that moved it away. None where there are none."""
        with passing():
            texts = self._send([("HGET", key, field) for key, field in contributions])
        return [orjson.loads(text).get("f") if text is not None else None for text in texts]

    def sources(self, station: str, partition: int) -> Iterator[tuple[bytes, list[bytes]]]:
        """Every golden record's key, with the fields that came by this partition of a station."""
        mine, by = f"{station}/".encode(), f',"p":{partition},'.encode()
        with passing():
            for key in self._client.scan_iter(match=f"{GOLDEN_PREFIX}*", count=1000):
                found = self._client.hgetall(key).items()
                yield (
                    key,
                    [
                        name
                        for name, text in found
                        if name.startswith(mine) and by in text.partition(b'"f":')[0]
                    ],
                )

    def remove(self, key: bytes, fields: Sequence[bytes]) -> None:
        """Take contributions out with no trace: only where all is derived anew."""
        with passing():
            self._client.hdel(key, *fields)

    def wipe(self) -> None:
        """Remove every golden record and mark."""
        with passing():
            for pattern in (f"{GOLDEN_PREFIX}*", "themes:{*"):
                batch: list[bytes] = []
                for key in self._client.scan_iter(match=pattern, count=1000):
                    batch.append(key)
                    if len(batch) == 1000:
                        self._unlink(batch)
                        batch = []
                self._unlink(batch)

    def close(self) -> None:
        self._client.close()

    def _unlink(self, keys: list[bytes]) -> None:
        if self._cluster:
            for key in keys:
                self._client.unlink(key)
        elif keys:
            self._client.unlink(*keys)

    def _compared(self, changes: Changes) -> list[tuple[str, list[Any]]]:
        """Calls that change nothing by what is older than what is there."""
        changes = changes.one_by_one()
        groups = [changes]
        if self._cluster:
            by_slot: dict[int, Changes] = {}
            for change in changes:
                by_slot.setdefault(self._client.keyslot(change[0]), Changes()).append(change)
            groups = list(by_slot.values())
        return [
            (_APPLY, _arguments(group.part(start, start + _RECORDS)))
            for group in groups
            for start in range(0, len(group), _RECORDS)
        ]

    def _send(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        if self._cluster:
            return [self._client.execute_command(*command) for command in commands]
        return send(self._client, commands)

    def _call(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """The answers to calls of scripts with their arguments, in order."""
        for _ in range(2):
            try:
                for script in {script for script, _ in calls} - self._scripts.keys():
                    self._scripts[script] = self._client.script_load(script)
                return self._send(
                    [("EVALSHA", self._scripts[script], *arguments) for script, arguments in calls]
                )
            except NoScriptError:  # Redis was started anew
                self._scripts.clear()
        raise Transient("Redis forgets its scripts", part="redis")


def _in_calls(sets: Sequence[Sets]) -> Iterator[list[Commands]]:
    call: list[Commands] = []
    for each in sets:
        for commands in each.commands(_RECORDS):
            call.append(commands)
            if sum(some.number for some in call) >= _RECORDS:
                yield call
                call = []
    if call:
        yield call


def _somebody_else(turn: Turn, mark: bytes | None, begun: bytes | None) -> Terminal:
    there = f"{(mark or b'').decode()}, begun to {(begun or b'').decode()}"
    return Terminal(
        f"Redis was told of {turn.topic}/{turn.partition} by somebody else, or has gone back: it is "
        f"at {there}, expected was {' '.join(turn.fence(sure=True))}",
        part="themes",
        remedy="see that no other process has the same share; started again, the sink compares",
    )


def mark_key(topic: str, partition: int) -> bytes:
    return f"themes:{{{topic}/{partition}}}".encode()


def begun_key(topic: str, partition: int) -> bytes:
    return mark_key(topic, partition) + b":begun"


def _arguments(changes: Changes, key: bytes = b"", mark: str = "", known: str = "") -> list[Any]:
    keys = [key, *changes.keys] if key else changes.keys
    return [len(keys), *keys, mark, known, *changes.arguments]
