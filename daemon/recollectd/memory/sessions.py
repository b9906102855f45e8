"""What sessions remember: the outcome of every numbered write, so that a retry is answered and not executed again.

This is a view like the records: it follows the journal, commit by commit, and is a function of it. Its rows are written
with the engine's checkpoints only, as of the commit in META's `sessions`; after a crash the journal is replayed from
there. So a write costs it no row.

A session id is 16 bytes: the time of its making in microseconds (u64, big-endian) and 8 random bytes. A session that
nothing is known of, made less than the retention ago, has never had a write: sessions are not forgotten sooner.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from recollectd.memory.commits import Commit, SessionsForgotten
from recollectd.protocol import errors, limits, table
from recollectd.storage.keyspace import DELETE, PUT, Family, Write, session_key


class Outcome(NamedTuple):
    """What a numbered write came to: digest of the request, its commit, the reply's bytes."""

    digest: int
    seq: int
    reply: bytes


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """A session on disk. Fields are only ever appended, with a default."""

    principal: str
    floor: int
    highest: int
    used_at: int
    outcomes: list[tuple[int, int, int, bytes]]


_DECODE: Final = msgspec.msgpack.Decoder(_Row).decode


class Session:
    """One session. Numbers below `floor` are forgotten."""

    __slots__ = ("bytes", "floor", "highest", "outcomes", "principal", "used_at")

    def __init__(self, principal: str) -> None:
        self.principal = principal
        self.floor = 1
        self.highest = 0
        self.used_at = 0
        self.outcomes: dict[int, Outcome] = {}
        self.bytes = 0  # of the outcomes' replies

    def remember(self, number: int, floor: int, outcome: Outcome, time: int) -> None:
        """Add an outcome; forget those below the floor that the write brought, and below the window."""
        self.highest = max(self.highest, number)
        self.used_at = time
        floor = max(self.floor, min(floor, number), self.highest - limits.SESSION_WINDOW_NUMBERS + 1)
        if number >= floor:  # else it was overtaken, on its way, by one a window ahead
            self.outcomes[number] = outcome
            self.bytes += len(outcome.reply)
        self._forget_below(floor)
        while self.bytes > limits.SESSION_OUTCOMES_BYTES_MAX and len(self.outcomes) > 1:
            self._forget_below(min(self.outcomes) + 1)

    def _forget_below(self, floor: int) -> None:
        if floor - self.floor > len(self.outcomes):
            forgotten = [number for number in self.outcomes if number < floor]
        else:
            forgotten = [number for number in range(self.floor, floor) if number in self.outcomes]
        for number in forgotten:
            self.bytes -= len(self.outcomes.pop(number).reply)
        self.floor = floor


class Sessions:
    """All sessions with a write in the retention time, by id."""

    def __init__(self) -> None:
        self.by_id: dict[bytes, Session] = {}
        self._dirty: set[bytes] = set()

    def __len__(self) -> int:
        return len(self.by_id)

    def __contains__(self, session_id: bytes) -> bool:
        return session_id in self.by_id

    def load(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Take up sessions from their rows (key, value)."""
        for key, value in rows:
            row = _DECODE(value)
            session = Session(row.principal)
            session.floor, session.highest, session.used_at = row.floor, row.highest, row.used_at
            session.outcomes = {number: Outcome(digest, seq, reply) for number, digest, seq, reply in row.outcomes}
            session.bytes = sum(len(outcome.reply) for outcome in session.outcomes.values())
            self.by_id[key[1:]] = session

    def apply(self, seq: int, commit: Commit) -> None:
        """Follow one commit."""
        if commit.session_id:
            if commit.session_id not in self.by_id:
                self.by_id[commit.session_id] = Session(commit.principal)
            self.remember(commit.session_id, commit.number, commit.floor, commit.digest, seq, commit.reply, commit.time)
        else:
            for event in commit.events:
                if isinstance(event, SessionsForgotten):
                    for session_id in event.session_ids:
                        if self.by_id.pop(session_id, None) is not None:
                            self._dirty.add(session_id)

    def remember(
        self, session_id: bytes, number: int, floor: int, digest: int, seq: int, reply: bytes, time: int
    ) -> None:
        """Add what a number of a known session came to."""
        self.by_id[session_id].remember(number, floor, Outcome(digest, seq, reply), time)
        self._dirty.add(session_id)

    def outcome(self, session_id: bytes, number: int, digest: int) -> Outcome | None:
        """Return what a number came to, None if it was never executed.

        Raises NumberReused for another request under the number, OutcomeUnknown for a forgotten number.
        """
        session = self.by_id.get(session_id)
        if session is None:
            return None
        known = session.outcomes.get(number)
        if known is None:
            if number < session.floor:
                raise errors.OutcomeUnknown(f"number {number} lies below {session.floor}, the oldest remembered")
            return None
        if known.digest != digest:
            raise errors.NumberReused(f"number {number} was another request")
        return known

    def admit(self, session_id: bytes, principal: str, now: int, retention_us: int) -> bytes:
        """Return the session to go on with: the one asked for, or a new one where it is empty or forgotten.

        Raises SessionForeign if it belongs to another principal, InvalidArgument if it is no session id.
        """
        if not session_id:
            return self.new_id(now)
        if len(session_id) != limits.SESSION_ID_BYTES:
            raise errors.InvalidArgument(f"must be empty or {limits.SESSION_ID_BYTES} bytes", field="session_id")
        known = self.by_id.get(session_id)
        if known is not None:
            if known.principal != principal:
                raise errors.SessionForeign(field="session_id")
            return session_id
        made_at = int.from_bytes(session_id[:8], "big")
        return session_id if now - retention_us < made_at <= now + retention_us else self.new_id(now)

    @staticmethod
    def new_id(now: int) -> bytes:
        """Return a fresh session id."""
        return now.to_bytes(8, "big") + os.urandom(8)

    def idle_since(self, time: int, limit: int) -> list[bytes]:
        """Return up to `limit` sessions without a write since a time."""
        idle: list[bytes] = []
        for session_id, session in self.by_id.items():
            if session.used_at < time:
                idle.append(session_id)
                if len(idle) == limit:
                    break
        return idle

    def checkpoint(self) -> list[Write]:
        """Return the rows that changed since the last call."""
        writes: list[Write] = []
        for session_id in self._dirty:
            session = self.by_id.get(session_id)
            if session is None:
                writes.append((DELETE, Family.INDEX, session_key(session_id), b""))
                continue
            outcomes = [(number, *outcome) for number, outcome in session.outcomes.items()]
            row = _Row(session.principal, session.floor, session.highest, session.used_at, outcomes)
            writes.append((PUT, Family.INDEX, session_key(session_id), table.encode(row)))
        self._dirty.clear()
        return writes

    def mark_dirty(self, rows: Iterable[Write]) -> None:
        """The rows of the last `checkpoint` were not written: they are due again."""
        self._dirty.update(key[1:] for _, _, key, _ in rows)
