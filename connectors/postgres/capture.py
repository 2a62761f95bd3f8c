"""From pgoutput messages to the builder's rows: transactions, relations, changes. Pure.

A few messages are taken one by one, so that they can leave at once. Many are held until they are
packed and then read all together (connectors.postgres.many), at a fifth of the price. Both ways
come to the same changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from struct import error as struct_error
from typing import ParamSpec

from connectors.postgres import decode
from connectors.postgres.changes import Place, split
from connectors.postgres.many import read
from connectors.postgres.relations import OPS, Relations, Wanted, key_crc, plain
from connectors.rows import CREATE, DELETE, EVERY, TRUNCATE, UPDATE, Rows
from connectors.train_builder import TrainBuilder
from datarail.position import Identity

Taken = ParamSpec("Taken")

#: So many row messages at hand are held. Fewer would not pay for the calls that many rows share.
MANY = 100


def whole(act: Callable[Taken, None]) -> Callable[Taken, None]:
    """Says Malformed where a message ends before what it should hold."""

    @wraps(act)
    def acting(*given: Taken.args, **named: Taken.kwargs) -> None:
        try:
            act(*given, **named)
        except (IndexError, struct_error) as error:
            raise decode.Malformed("a message ends too early") from error

    return acting


class Capture:
    """Feeds one slot's messages to a builder.

    wanted: (schema, table) → resource; other tables are counted in the index and left out.
    near_xid: any recent 64-bit transaction id of the source, to widen the stream's 32 bits.
    notice: told of schema changes, in words for people. place: how far the messages read reach.
    heard: commit time of the newest transaction known of, held ones included, microseconds.
    """

    def __init__(
        self,
        builder: TrainBuilder,
        wanted: Mapping[tuple[str, str], Wanted],
        near_xid: int = 0,
        notice: Callable[[str, str], None] = lambda resource, text: None,
    ) -> None:
        self.builder = builder
        self.place = Place(near_xid)
        self.heard = 0
        self._relations = Relations(builder, wanted, notice)
        self._partitions = len(builder.reached)
        self._held: list[bytes] = []

    @whole
    def take(self, messages: Sequence[bytes], size: int) -> None:
        """Take what was at hand, `size` bytes together; raises decode.Malformed as `feed` does.

        Once messages are held, those after them are too, until `flush`: the builder's counts
        include them.
        """
        if not self._held and len(messages) < MANY:
            for message in messages:
                self.feed(message)
            return
        kinds = b"".join([message[:1] for message in messages])
        rows = len(kinds) - kinds.count(decode.BEGIN) - kinds.count(decode.COMMIT)
        if not self._held and rows < MANY:
            for message in messages:
                self.feed(message)
            return
        self._held += messages
        last = kinds.rfind(decode.BEGIN)
        if last >= 0:
            self.heard = decode.begin(messages[last]).commit
        builder = self.builder
        builder.rows += rows
        builder.bytes += size
        # Which partitions they are for is not known yet; many are for all.
        builder.waiting = [waits + 1 for waits in builder.waiting]

    @whole
    def flush(self) -> None:
        """Hand what is held to the builder: to be called before it packs. Raises decode.Malformed."""
        if not self._held:
            return
        held, self._held = self._held, []
        changes = read(held, self.place, self._relations)
        few, blocks = split(changes, self.builder.epoch, self._partitions)
        for change in few:
            self._append(*change)
        for block in blocks:
            self.builder.add(block)

    @whole
    def feed(self, data: bytes) -> None:
        """Take one message. Raises decode.Malformed for what protocol version 1 does not have."""
        kind = data[0]
        place = self.place
        if kind == decode.INSERT:
            rows = self._relations.of(decode.relation_of(data))
            if rows is not None:
                self._append(rows, CREATE, data, 0, place)
            place.index += 1
        elif kind == decode.UPDATE:
            rows = self._relations.of(decode.relation_of(data))
            if rows is not None:
                if data[5] == decode.NEW:
                    self._append(rows, UPDATE, data, 0, place)
                else:
                    for message, part in plain(data, rows.key):
                        self._append(rows, OPS[message[0]], message, part, place)
            place.index += 1
        elif kind == decode.DELETE:
            rows = self._relations.of(decode.relation_of(data))
            if rows is not None:
                decode.check_delete(data)
                self._append(rows, DELETE, data, 0, place)
            place.index += 1
        elif kind == decode.BEGIN:
            place.begin(decode.begin(data))
            self.heard = place.commit_time
        elif kind == decode.COMMIT:
            place.commit(decode.commit_end(data))
        elif kind == decode.RELATION:
            self._relations.tell(decode.relation(data))
        elif kind == decode.TRUNCATE:
            for oid in decode.truncated(data):
                rows = self._relations.of(oid)
                if rows is not None:
                    self._append(rows, TRUNCATE, data, 0, place)
                place.index += 1
        elif kind not in (decode.TYPE, decode.ORIGIN, decode.MESSAGE):
            raise decode.Malformed(f"a message of kind {chr(kind)!r}")

    def _append(self, rows: Rows, op: int, data: bytes, part: int, place: Place) -> None:
        """One change. data: a message whose tuple begins at 6; of a truncate, any."""
        flat, builder = rows.flat, self.builder
        base, row = len(flat), len(rows.ops)
        if op == TRUNCATE:
            flat.extend([None] * rows.width)
            target = EVERY
            builder.waiting = [waits + 1 for waits in builder.waiting]
        else:
            unchanged = decode.append_tuple(data, 6, flat)
            if len(flat) - base != rows.width:
                raise decode.Malformed(f"a tuple of {len(flat) - base} columns for a table of {rows.width}")
            if unchanged and op != DELETE:
                rows.unchanged[row] = unchanged
            parts = [flat[base + number] for number in rows.key]
            identity = Identity(builder.epoch, place.position, place.index, part)
            target = key_crc(rows, parts, identity) % self._partitions
            builder.waiting[target] += 1
        if rows.commit != place.position:
            rows.commit = place.position
            rows.runs.append((row, place.position, place.xid, place.commit_time))
        if part:
            rows.second.append(row)
        rows.ops.append(op)
        rows.index.append(place.index)
        rows.target.append(target)
        builder.rows += 1
        builder.bytes += len(data)
