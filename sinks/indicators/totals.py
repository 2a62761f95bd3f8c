"""Totals in Redis: per partition a hash for each indicator, moved on together with the mark.

    ind:{train.police.household/0}:<indicator>   JSON list of dimension values → integer
    ind:{train.police.household/0}               the mark: trains up to it are in the totals
    indicators:of:{train.police.household/0}     names of the indicators there
    indicators:partitions                        "<topic>/<partition>" of all that count

One script compares the mark, adds, and sets the mark: what a zombie or a repeat brings is not
counted (DESIGN rule 9). A total of 0 is not kept.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.exceptions import NoScriptError

from datarail.errors import Transient
from datarail.position import Mark
from sinks.indicators.counting import Totals
from sinks.redis_calls import passing

PARTITIONS = "indicators:partitions"

_ADD = """
local call = redis.call
local there = call('GET', KEYS[1]) or ''
if there ~= ARGV[2] then return there end
for i = 3, #ARGV, 3 do
  local key, field = KEYS[tonumber(ARGV[i])], ARGV[i + 1]
  if call('HINCRBY', key, field, ARGV[i + 2]) == 0 then call('HDEL', key, field) end
end
call('SET', KEYS[1], ARGV[1])
return false
"""


class RedisTotals:
    """The Redis edge. Raises Transient when Redis is away."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client
        self._sha = ""

    def mark(self, topic: str, partition: int) -> Mark | None:
        with passing():
            text = self._client.get(mark_key(topic, partition))
        return Mark.parse(text.decode()) if text else None

    def add(self, topic: str, partition: int, totals: Totals, mark: Mark, known: Mark) -> Mark | None:
        """Add to the totals and move the mark on from `known`, or do neither: then the mark that
        is there instead is returned (offset 0 when there is none)."""
        keys: list[Any] = [mark_key(topic, partition)]
        arguments: list[Any] = [mark.text(), known.text()]
        for name, values in totals.items():
            keys.append(total_key(topic, partition, name))
            for dimensions, value in values.items():
                if value:
                    arguments += (len(keys), dimensions, value)
        with passing():
            there = self._run(keys, arguments)
        if there is None:
            return None
        return Mark.parse(there.decode()) if there else Mark()

    def replace(self, topic: str, partition: int, totals: Totals, mark: Mark) -> None:
        """Set a partition's totals and mark, whatever was there, at once."""
        names = f"indicators:of:{{{topic}/{partition}}}"
        with passing():
            former = self._client.smembers(names)
            pipeline = self._client.pipeline(transaction=True)
            for name in {name.decode() for name in former} | set(totals):
                pipeline.delete(total_key(topic, partition, name))
            for name, values in totals.items():
                fields = [(dimensions, value) for dimensions, value in values.items() if value]
                for start in range(0, len(fields), 1000):
                    pipeline.hset(
                        total_key(topic, partition, name), mapping=dict(fields[start : start + 1000])
                    )
            pipeline.delete(names)
            if totals:
                pipeline.sadd(names, *totals)
            pipeline.set(mark_key(topic, partition), mark.text())
            pipeline.execute()
            self._client.sadd(PARTITIONS, f"{topic}/{partition}")

    def wipe(self) -> None:
        """Remove every total and mark."""
        with passing():
            for pattern in ("ind:{*", "indicators:*"):
                for key in self._client.scan_iter(match=pattern, count=1000):
                    self._client.unlink(key)

    def close(self) -> None:
        self._client.close()

    def _run(self, keys: list[Any], arguments: list[Any]) -> bytes | None:
        for _ in range(2):
            try:
                if not self._sha:
                    self._sha = self._client.script_load(_ADD)
                answer: bytes | None = self._client.evalsha(self._sha, len(keys), *keys, *arguments)
                return answer
            except NoScriptError:  # Redis was started anew
                self._sha = ""
        raise Transient("Redis forgets its scripts", part="redis")


def mark_key(topic: str, partition: int) -> str:
    return f"ind:{{{topic}/{partition}}}"


def total_key(topic: str, partition: int, name: str) -> str:
    return f"ind:{{{topic}/{partition}}}:{name}"
