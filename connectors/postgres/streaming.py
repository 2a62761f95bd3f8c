"""The stream of one slot: messages in, trains out, acknowledgement back (DESIGN rule 3)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import psycopg2
import psycopg2.extras

from connectors.postgres.capture import Capture
from connectors.postgres.decode import Malformed
from connectors.postgres.overlap import Overlap
from connectors.postgres.session import Connection, explain
from connectors.shipper import Shipper, TooLarge
from connectors.train_builder import Reached, TrainBuilder
from datarail.errors import Terminal, Transient
from datarail.position import Identity

#: A packing holds at most this; as trains, divided by the partitions. Far behind, it holds more:
#: with many resources every hop's price is per car, and nobody waits for a row of then. How many
#: more depends on the cars of the last one: those that are long enough need not be longer.
MOST_ROWS, CATCHING_UP_ROWS, MOST_EVER = 16384, 65536, 131072
_LONG_CAR = 4096
#: So many bytes fit into one record however badly they compress, and twice as many where the packings
#: before were smaller as trains than this by bytes of theirs.
MOST_BYTES = 12 << 20
_DENSE = 0.4
_FAR_BEHIND_SECONDS = 2.0
#: While more keeps coming, rows wait for company a tenth of the lag there is already. A gap of
#: a few milliseconds ends the wait, so a source whose clock differs is not slowed by it.
_LINGER_SHARE, _LINGER_SECONDS, _LINGER_LEAST, _GAP_SECONDS = 0.1, 0.5, 0.02, 0.003
#: Between two departures there is a rest of some acknowledgements' time. Each train costs every hop
#: a wake-up, whatever is in it: a line that sends as often as it can is busy with that alone, and
#: slow. Where Kafka answers at once the rest is short; a row that comes after it does not wait.
_REST_SHARE, _REST_MOST = 3.0, 0.04
#: The rest is no shorter than this a car of the last departure, up to some milliseconds: each costs
#: every hop about that much, so where many resources keep coming, company is worth more than haste.
_REST_A_CAR, _REST_LEAST = 0.0015, 0.015
#: Nor shorter than what its rows cost the hops: row by row in small cars, by the car in large ones.
#: From some 6,000 rows/s over many resources on departures so become fewer and larger by themselves,
#: before the hops are busy with small cars alone.
_WORK_A_ROW, _WORK_A_CAR, _WORK_MOST = 0.00012, 0.024, 0.75
#: A rest is slept through in pieces: what the source sends meanwhile is more than a socket holds.
_DOZE_SECONDS = 0.02
_FEEDBACK_SECONDS = 1.0
_IDLE_SECONDS = 0.5
_PARTING_SECONDS = 8.0
#: Messages read between two looks at what else there is to do.
_AT_ONCE = 4096


class Streaming:
    """Runs until `check` (called about once a second) raises.

    overlap_passed: told how far each partition is when all that the snapshot may have seen is safe.
    Until then nothing is acknowledged: a successor must filter from where we did.
    """

    def __init__(
        self,
        connection: Connection,
        url: str,
        slot: str,
        publications: list[str],
        capture: Capture,
        builder: TrainBuilder,
        shipper: Shipper,
        overlap: Overlap,
        overlap_passed: Callable[[list[Reached]], None],
        check: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._url = url
        self._slot = slot
        self._publications = publications
        self._capture = capture
        self._builder = builder
        self._shipper = shipper
        self._overlap = overlap
        self._overlap_passed = overlap_passed
        self._check = check
        self._cursor: Any = None
        #: (end LSN of a commit, the last train with changes up to it)
        self._commits: deque[tuple[int, int]] = deque()
        self._noted = 0
        self._acknowledged = 0
        self._fed_back = 0.0
        self._checked = 0.0
        self._waiting_since = 0.0
        self._read_at = 0.0
        self._left_at = 0.0
        self._left_rows = self._left_cars = 0
        self._density = 1.0  # bytes of the largest train a byte packed, the most of late
        self._kept: Any = None  # a message read that has no room in this packing
        #: Past the overlap: the last train before, and how far the partitions were with it.
        self._passing: tuple[int, list[Reached]] | None = None

    def run(self) -> None:
        try:
            self._start()
            while True:
                more = not self._shipper.full and self._read()
                self._shipper.collect()
                wait = self._send(more)
                self._acknowledge()
                self._tick()
                if not more:
                    self._wait(wait)
        except psycopg2.Error as error:
            raise explain(error, self._url) from error
        except Malformed as error:
            raise Terminal(
                f"the source sends what pgoutput's protocol 1 does not have: {error}",
                part=self._slot,
                remedy="is something between us and PostgreSQL? Its version is told by `datarail attach`",
            ) from error

    def finish(self) -> None:
        """Leave nothing that was read behind, and tell the source."""
        self._ship()
        self._shipper.drain(seconds=_PARTING_SECONDS)
        self._fed_back = 0.0
        self._acknowledge()

    def _start(self) -> None:
        self._cursor = self._connection.cursor()
        names = ",".join('"' + name.replace('"', '""') + '"' for name in self._publications)
        self._cursor.start_replication(
            slot_name=self._slot,
            slot_type=psycopg2.extras.REPLICATION_LOGICAL,
            start_lsn=0,
            decode=False,
            status_interval=10,
            options={"proto_version": "1", "publication_names": names},
        )

    def _read(self) -> bool:
        """Take what is at hand, up to a packing; whether there may be more."""
        read, size = self._cursor.read_message, 0
        messages: list[bytes] = []
        builder = self._builder
        most_rows, most_bytes = self._most()
        most, room = min(_AT_ONCE, most_rows - builder.rows), most_bytes - builder.bytes
        message, self._kept = self._kept or read(), None
        while message is not None:
            data = message.payload
            if size + len(data) > room and (messages or builder.rows):
                self._kept = message
                break
            messages.append(data)
            size += len(data)
            if len(messages) >= most:
                break
            message = read()
        if messages:
            self._read_at = time.monotonic()
            self._capture.take(messages, size)
        return message is not None

    def _most(self) -> tuple[int, int]:
        """Rows and bytes of a packing."""
        if time.time() - self._capture.heard / 1e6 <= _FAR_BEHIND_SECONDS:
            return MOST_ROWS, MOST_BYTES
        rows = min(MOST_EVER, max(CATCHING_UP_ROWS, self._left_cars * _LONG_CAR))
        spacious = rows > CATCHING_UP_ROWS and self._density < _DENSE
        return rows, MOST_BYTES * 2 if spacious else MOST_BYTES

    def _send(self, more: bool) -> float:
        """Ship what waits if its time has come; how long it may wait otherwise, in seconds."""
        builder, shipper = self._builder, self._shipper
        if not builder.rows:
            return _IDLE_SECONDS
        if self._kept is not None or builder.rows >= self._most()[0]:
            self._ship()
            return _IDLE_SECONDS
        if not any(waits and shipper.idle(partition) for partition, waits in enumerate(builder.waiting)):
            return _IDLE_SECONDS  # an acknowledgement will wake us
        now = time.monotonic()
        rest = self._left_at + self._rest() - now
        if rest > 0:
            if not more:
                time.sleep(min(rest, _DOZE_SECONDS))  # not even the source wakes us
            return 0.0
        self._waiting_since = self._waiting_since or now
        linger = min(_LINGER_SECONDS, (time.time() - self._capture.heard / 1e6) * _LINGER_SHARE)
        lingers = linger >= _LINGER_LEAST and now - self._waiting_since < linger
        if lingers and (more or now - self._read_at < _GAP_SECONDS):
            return _GAP_SECONDS
        self._ship()
        return _IDLE_SECONDS

    def _rest(self) -> float:
        """Seconds from the last departure to the next."""
        kafka = min(_REST_MOST, self._shipper.took * _REST_SHARE)
        company = min(_REST_LEAST, self._left_cars * _REST_A_CAR)
        work = min(_WORK_MOST, self._left_rows * _WORK_A_ROW, self._left_cars * _WORK_A_CAR)
        return max(kafka, company, work)

    def _ship(self) -> None:
        packed, largest = self._builder.bytes, 0
        self._left_rows, self._left_cars = self._builder.rows, 0
        self._capture.flush()
        for train in self._builder.pack(time.time_ns() // 1000):
            self._left_cars += len(train.cars)
            try:
                largest = max(largest, self._shipper.send(train))
            except TooLarge as error:
                if packed <= MOST_BYTES or self._left_rows == 1:
                    raise
                # They compress worse than those before: from where Kafka is, in smaller packings again.
                raise Transient(error.message, part=error.part) from error
        self._density = max(largest / max(packed, 1), self._density / 4)
        self._waiting_since = 0.0
        self._left_at = time.monotonic()
        if self._overlap.passed(self._capture.place.position):
            self._pass()

    def _pass(self) -> None:
        """All changes that the snapshot may have seen are packed."""
        if self._builder.keep is not None:
            self._builder.keep = None
            # One below: a commit record may begin at the very position.
            edge = Identity(self._builder.epoch, self._overlap.until - 1, 0)
            self._passing = self._shipper.sent, [place.past(edge) for place in self._builder.reached]

    def _acknowledge(self) -> None:
        place, shipper = self._capture.place, self._shipper
        if place.committed > self._noted and not self._builder.rows:
            # Everything read is packed, so the last train covers this commit.
            self._noted = place.committed
            self._commits.append((place.committed, shipper.sent))
        while self._commits and self._commits[0][1] <= shipper.safe:
            self._acknowledged = self._commits.popleft()[0]
        if self._passing is not None and self._passing[0] <= shipper.safe:
            self._overlap_passed(self._passing[1])
            self._passing, self._overlap.until = None, 0
        now = time.monotonic()
        if now - self._fed_back < _FEEDBACK_SECONDS:
            return
        self._fed_back = now
        idle = not place.open and not self._builder.rows and self._kept is None
        if idle and shipper.safe == shipper.sent:
            # Nothing under way: the log up to here holds nothing of ours, the source may let it go.
            self._acknowledged = max(self._acknowledged, self._cursor.wal_end)
            if self._overlap.passed(self._cursor.wal_end):
                self._pass()
        safe = 0 if self._overlap.until else self._acknowledged
        self._cursor.send_feedback(write_lsn=safe, flush_lsn=safe, apply_lsn=safe, force=True)

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._checked >= 1.0:
            self._checked = now
            self._check()

    def _wait(self, seconds: float) -> None:
        """Until the source sends, or a train is acknowledged."""
        self._shipper.wait([] if self._shipper.full else [self._connection], seconds)
