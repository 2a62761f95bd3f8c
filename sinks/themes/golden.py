"""Golden records in Redis: one hash per record, one field per contribution, guarded by a script.

    golden:{population/33060219900101001X}   <station>/<resource>/<source key> → contribution
    themes:{train.police.household/0}        the mark: trains up to it have been applied

The script compares versions contribution by contribution: an older one never overwrites a newer
one, whoever sends it and however often. Only a last call, after all others have succeeded, moves
the mark. Many records go in one call; in a cluster, those of one slot.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import redis
from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError

from datarail.errors import Terminal, Transient
from datarail.position import Mark
from sinks.redis_calls import passing, send
from sinks.themes.build import GOLDEN_PREFIX

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

#: A golden record's key, a field of it, and what the script is to do with it.
Change = tuple[bytes, bytes, bytes]


class Changes:
    """Many changes in order, as the script takes them: keys, and field and text by turns."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.arguments: list[bytes] = []

    def __len__(self) -> int:
        return len(self.keys)

    def append(self, change: Change) -> None:
        self.keys.append(change[0])
        self.arguments += change[1:]

    def extend(self, keys: list[bytes], fields: list[bytes], texts: list[bytes]) -> None:
        """Whole columns of changes."""
        woven = [b""] * (2 * len(keys))
        woven[0::2], woven[1::2] = fields, texts
        self.keys += keys
        self.arguments += woven

    def part(self, start: int, end: int) -> Changes:
        cut = Changes()
        cut.keys, cut.arguments = self.keys[start:end], self.arguments[2 * start : 2 * end]
        return cut

    def __iter__(self) -> Iterator[Change]:
        return zip(self.keys, self.arguments[0::2], self.arguments[1::2], strict=True)


class Golden:
    """The Redis edge. Raises Transient when Redis is away, Terminal when it has lost its data."""

    def __init__(self, client: redis.Redis | RedisCluster) -> None:
        self._client: Any = client
        self._sha = ""
        self._cluster = isinstance(client, RedisCluster)

    def mark(self, topic: str, partition: int) -> Mark | None:
        with passing():
            text = self._client.get(mark_key(topic, partition))
        return Mark.parse(text.decode()) if text else None

    def set_mark(self, topic: str, partition: int, mark: Mark) -> None:
        """Set it whatever was there: a partition that is being derived anew."""
        with passing():
            self._client.set(mark_key(topic, partition), mark.text())

    def apply(self, changes: Changes) -> None:
        """Apply changes, in order for each record."""
        with passing():
            self._call([self._arguments(group) for group in self._groups(changes)])

    def apply_and_mark(
        self, changes: Changes, topic: str, partition: int, mark: Mark, known: Mark | None
    ) -> None:
        """Apply changes, then move the mark on from the one known (or a later one)."""
        last = Changes()
        if self._cluster or len(changes) > _RECORDS:
            self.apply(changes)
        else:
            last = changes
        arguments = self._arguments(
            last, mark_key(topic, partition), mark.text(), known.text() if known else ""
        )
        with passing():
            there = self._call([arguments])[0]
        if there is not None:
            raise Terminal(
                f"Redis has gone back to {there.decode() or 'nothing'} for {topic}/{partition}, "
                f"{known.text() if known else 'nothing'} was acknowledged",
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

    def _groups(self, changes: Changes) -> Iterator[Changes]:
        if self._cluster:
            by_slot: dict[int, Changes] = {}
            for change in changes:
                by_slot.setdefault(self._client.keyslot(change[0]), Changes()).append(change)
            for group in by_slot.values():
                yield from _cut(group)
        else:
            yield from _cut(changes)

    def _arguments(self, changes: Changes, key: bytes = b"", mark: str = "", known: str = "") -> list[Any]:
        keys = [key, *changes.keys] if key else changes.keys
        return [len(keys), *keys, mark, known, *changes.arguments]

    def _send(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        if self._cluster:
            return [self._client.execute_command(*command) for command in commands]
        return send(self._client, commands)

    def _call(self, calls: list[list[Any]]) -> list[Any]:
        for _ in range(2):
            try:
                if not self._sha:
                    self._sha = self._client.script_load(_APPLY)
                return self._send([("EVALSHA", self._sha, *arguments) for arguments in calls])
            except NoScriptError:  # Redis was started anew
                self._sha = ""
        raise Transient("Redis forgets its scripts", part="redis")


def mark_key(topic: str, partition: int) -> bytes:
    return f"themes:{{{topic}/{partition}}}".encode()


def _cut(changes: Changes) -> Iterator[Changes]:
    for start in range(0, len(changes), _RECORDS):
        yield changes.part(start, start + _RECORDS)
