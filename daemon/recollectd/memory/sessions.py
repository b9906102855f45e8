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
from typing import Final

import msgspec

from recollectd._native.session import Outcome, Session
from recollectd.memory.commits import Commit, SessionsForgotten
from recollectd.protocol import errors, limits, table
from recollectd.storage.keyspace import DELETE, PUT, Family, Write, session_key


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """A session on disk. Fields are only ever appended, with a default."""

    principal: str
    floor: int
    highest: int
    used_at: int
    outcomes: list[tuple[int, int, int, bytes]]


_DECODE: Final = msgspec.msgpack.Decoder(_Row).decode


def _new_session(principal: str) -> Session:
    return Session(
        principal,
        window_numbers=limits.SESSION_WINDOW_NUMBERS,
        bytes_max=limits.SESSION_OUTCOMES_BYTES_MAX,
    )


class Sessions:
    """All sessions with a write in the retention time, by id."""

    def __init__(self) -> None:
        self.by_id: dict[bytes, Session] = {}
        self.dirty: set[bytes] = set()  # since the last checkpoint

    def __len__(self) -> int:
        return len(self.by_id)

    def __contains__(self, session_id: bytes) -> bool:
        return session_id in self.by_id

    def load(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Take up sessions from their rows (key, value)."""
        for key, value in rows:
            row = _DECODE(value)
            session = _new_session(row.principal)
            outcomes = {number: Outcome(digest, seq, reply) for number, digest, seq, reply in row.outcomes}
            session.restore(row.floor, row.highest, row.used_at, outcomes)
            self.by_id[key[1:]] = session

    def apply(self, seq: int, commit: Commit) -> None:
        """Follow one commit."""
        if commit.session_id:
            outcome = Outcome(commit.digest, seq, commit.reply)
            session = self.by_id.get(commit.session_id) or self.begin(commit.session_id, commit.principal)
            session.remember(commit.number, commit.floor, outcome, commit.time)
            self.dirty.add(commit.session_id)
        else:
            for event in commit.events:
                if isinstance(event, SessionsForgotten):
                    for session_id in event.session_ids:
                        if self.by_id.pop(session_id, None) is not None:
                            self.dirty.add(session_id)

    def begin(self, session_id: bytes, principal: str) -> Session:
        """Return a session that nothing was known of."""
        session = self.by_id[session_id] = _new_session(principal)
        return session

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
        for session_id in self.dirty:
            session = self.by_id.get(session_id)
            if session is None:
                writes.append((DELETE, Family.INDEX, session_key(session_id), b""))
                continue
            outcomes = [(number, each.digest, each.seq, each.reply) for number, each in session.outcomes.items()]
            row = _Row(session.principal, session.floor, session.highest, session.used_at, outcomes)
            writes.append((PUT, Family.INDEX, session_key(session_id), table.encode(row)))
        self.dirty.clear()
        return writes

    def mark_dirty(self, rows: Iterable[Write]) -> None:
        """The rows of the last `checkpoint` were not written: they are due again."""
        self.dirty.update(key[1:] for _, _, key, _ in rows)
