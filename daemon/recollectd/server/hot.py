"""The hot path, wired to the daemon: the value cache follows what is applied and takes up what cold reads find,
connections are served from it in native code, and plain writes take the short way to the journal.

Without its native modules there is none of it: every read goes to a worker thread and every write the ordinary way,
with the same answers.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from recollectd.config.environment import NATIVE_REQUIRED, Way, switches
from recollectd.memory import commits
from recollectd.memory.conversations.events import ConversationHead
from recollectd.memory.conversations.ids import Place
from recollectd.memory.kind import Fill, ReadOperation
from recollectd.memory.logs.events import LogHead
from recollectd.memory.sequencer import Sequencer
from recollectd.memory.sessions import Sessions
from recollectd.memory.state.events import StateHead
from recollectd.protocol import limits
from recollectd.protocol.table import REQUEST_BY_TAG
from recollectd.server.clock import Clock
from recollectd.server.committer import Committer
from recollectd.server.connection import Connection
from recollectd.server.intake import Intake, PlainIntake, why_unframed
from recollectd.server.pending import Pending
from recollectd.server.slow import SlowLog
from recollectd.server.writes import Underway, WriteRouter
from recollectd.storage.keyspace import last_use_key

try:
    from recollectd._native import hot_appends, hot_puts, hot_reads, hot_steps, hot_writes, intake, value_cache
except ImportError as error:
    MISSING = str(error)
else:
    MISSING = ""

log = logging.getLogger("recollectd.hot")


class NativeMissing(Exception):
    """The native hot path is required and not there; the message says what to do."""


def way_of_reads() -> Way:
    """Return which way reads go. Raises NativeMissing, ValueError for a switch that is set to what there is not."""
    required, wanted = switches()
    if MISSING and required:
        raise NativeMissing(f"{MISSING} ({NATIVE_REQUIRED} is set)")
    return Way.OFF if MISSING else wanted


class HotWays:
    """What the short way of writes shares with the ordinary one, and asks once in a turn of the loop."""

    new_underway: Final = Underway
    decode: Final = staticmethod(commits.decode)

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sequencer: Sequencer,
        sessions: Sessions,
        committer: Committer,
        writes: WriteRouter,
        clock: Clock,
        slow: SlowLog,
    ) -> None:
        self.sequencer = sequencer
        self.sessions = sessions
        self.underway = writes.underway
        self.ready: deque[Pending] = committer.ready
        self.wake = committer.wake
        self.room_bytes = writes.room_bytes
        self.fetch = writes.fetch
        self.now = clock.now
        self.time = loop.time
        self.call_soon = loop.call_soon
        self.slow = slow

    def note_slow(self, elapsed_s: float) -> None:
        """Say that writes were slow; elapsed_s: the slowest of those that ended together."""
        self.slow.note("a write", elapsed_s)


class HotPath:
    """The value cache and those who use it. Lives on the event loop."""

    def __init__(
        self,
        way: Way,
        *,
        cache_bytes: int,
        position: int,
        now: Callable[[], int],
        time: Callable[[], float],
        touched: Callable[[list[tuple[bytes, int]]], None],
        bytes_in_flight_max: int,
        request_bytes: int,
    ) -> None:
        self._native = way is Way.ON
        self._time = time
        self.cache: value_cache.ValueCache | None = None
        self.reads: hot_reads.HotReads | None = None
        self.writes: hot_writes.HotWrites | None = None
        if MISSING:
            log.warning("there is no value cache, and reads are slower than they could be: %s", MISSING)
        if way is Way.OFF:
            return
        bounded = min(max(cache_bytes, value_cache.BYTES_MIN), value_cache.BYTES_MAX)
        try:
            self.cache = value_cache.ValueCache(bounded, int.from_bytes(os.urandom(8), "little"))
        except OSError as error:
            log.error("there is no value cache, and reads are slower: no room for %d bytes: %s", bounded, error)
            return
        self.reads = hot_reads.HotReads(
            self.cache,
            now_us=now,
            touched=touched,
            limits=limits.table(),
            bytes_in_flight_max=bytes_in_flight_max,
            request_bytes=request_bytes,
        )
        self.reads.position = position

    def begin_writes(self, ways: HotWays, committer: Committer) -> None:
        """Let plain writes take the short way from here on."""
        if not self._native or self.reads is None:
            return
        time_us_max = limits.TIME_US_MAX
        puts = hot_puts.HotPuts(StateHead, ways.sequencer.policies)
        ways.sequencer.facts.compact = puts.compact
        kinds: dict[int, hot_writes.HotKind] = {
            hot_puts.STATE_PUT: puts,
            hot_puts.STATE_PUT_MANY: hot_puts.HotPutsOfMany(StateHead, ways.sequencer.policies),
            hot_appends.LOG_APPEND: hot_appends.HotAppends(hot_appends.LOG_APPEND, time_us_max, LogHead),
            hot_appends.CONVERSATION_APPEND: hot_appends.HotAppends(
                hot_appends.CONVERSATION_APPEND, time_us_max, ConversationHead, Place, last_use_key
            ),
        }
        committer.take_rows = hot_steps.take_rows
        self.writes = committer.hot = hot_writes.HotWrites(self.reads, ways, kinds, slow_s=ways.slow.threshold_s)

    @property
    def bytes_in_flight(self) -> int:
        """Of the requests on the short way."""
        return 0 if self.writes is None else self.writes.bytes_in_flight

    def make_lane(self, connection: Connection) -> hot_writes.HotLane | None:
        """Return what takes a new connection's frames first; None where there is no short way."""
        return None if self.writes is None else self.writes.lane(connection, connection.take)

    def make_intake(self, connection: Connection) -> Intake:
        """Return what a new connection's bytes go through."""
        take = connection.take if connection.hot_lane is None else connection.hot_lane.take
        if self._native and self.reads is not None:
            return intake.Intake(
                self.reads,
                begin=connection.begin,
                take=take,
                unframed=lambda start: connection.lose_framing(why_unframed(start)),
                time=self._time,
            )
        return PlainIntake(begin=connection.begin, take=take, unframed=connection.lose_framing, time=self._time)

    def cached(self, operation: ReadOperation[Any]) -> bytes | None:
        """Return the reply to a read if the cache has it."""
        return None if self.reads is None else operation.cached(self.reads)

    def note_in_flight(self, size: int) -> None:
        """So many bytes of requests are in flight on all connections."""
        if self.reads is not None:
            self.reads.bytes_in_flight = size

    def fill(self, read_at: int, fills: list[Fill]) -> None:
        """Take up what a read found that began when commit `read_at` was the last one applied."""
        if self.cache is not None:
            for fill in fills:
                fill(self.cache, read_at)

    def on_applied(self, last_seq: int, applied: list[Pending]) -> None:
        """Follow what is applied; before anybody hears of it."""
        if self.cache is None or self.reads is None:
            return
        try:
            for item in applied:
                item.follow(self.cache)
        except Exception:
            log.exception("the value cache could not follow commit %d and begins anew", last_seq)
            self.cache.clear(last_seq)
        self.reads.position = last_seq

    def operations(self) -> dict[type, int]:
        """Return how many requests were answered in native code, by type."""
        answered = {} if self.reads is None else self.reads.answered()
        operations = {REQUEST_BY_TAG[tag]: count for tag, count in answered.items()}
        taken = {} if self.writes is None else self.writes.taken()
        return {**operations, **{REQUEST_BY_TAG[tag]: count for tag, count in taken.items()}}

    def status(self) -> dict[str, Any]:
        """Return the cache's figures; nothing without one."""
        if self.cache is None or self.reads is None:
            return {}
        hits, misses = self.reads.hits, self.reads.misses
        ratio = round(hits / (hits + misses), 4) if hits + misses else 0.0
        return {**self.cache.statistics(), "hits": hits, "misses": misses, "hit_ratio": ratio}
