"""The sequencer: the one place where writes get their order, their time and everything else that must not differ on
replay. Single-threaded; knows neither sockets nor the journal.

A write that is sequenced is a commit waiting to become durable. Its effects are visible at once to later writes (the
overlay of facts) and to nobody else until it is applied.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from recollectd.memory.commits import Commit
from recollectd.memory.facts import FactCache
from recollectd.memory.kind import Event, Fact, WriteOperation
from recollectd.memory.refusals import error_reply
from recollectd.memory.settings.events import HistoryPolicy, SettingsChanged
from recollectd.memory.settings.policies import Policies
from recollectd.protocol import errors, limits, table
from recollectd.storage.keyspace import namespace_end

_RANGES_MAX = 100_000


class Author(NamedTuple):
    """Who asked for a write, and under which number: session_id empty for the daemon itself."""

    principal: str
    session_id: bytes = b""
    number: int = 0
    floor: int = 0
    digest: int = 0


THE_DAEMON = Author("daemon")


class Sequenced(NamedTuple):
    """A commit with its place: seq, the journal entry's bytes, and the rows it changes."""

    seq: int
    commit: Commit
    payload: bytes
    changed: tuple[bytes, ...]


class _Savepoint(NamedTuple):
    puts: int
    events: int


_ABSENT = object()  # no put of this row in the draft, before an undo step


class SequencerDraft:
    """The commit in the making; see `recollectd.memory.kind.Draft`."""

    __slots__ = ("_policies", "_ranges", "_undo", "changed", "events", "known", "seq", "shard_labels", "time")

    def __init__(
        self,
        seq: int,
        time: int,
        known: dict[bytes, Fact | None],
        ranges: Ranges,
        policies: Policies,
        shard_labels: int,
    ) -> None:
        self.seq = seq
        self.time = time
        self.known = known
        self.changed: dict[bytes, Fact | None] = {}
        self.events: list[Event] = []
        self.shard_labels = shard_labels
        self._ranges = ranges
        self._policies = policies
        self._undo: list[tuple[bytes, object]] = []

    def knows(self, key: bytes) -> bool:
        """Return whether the row was asked for by `needs`."""
        return key in self.changed or key in self.known

    def get(self, key: bytes) -> Any:
        """Return a row that `needs` asked for, or that this commit has put."""
        if key in self.changed:
            return self.changed[key]
        return self.known[key]

    def put(self, key: bytes, fact: Fact | None) -> None:
        """Say what the row will be."""
        self._undo.append((key, self.changed.get(key, _ABSENT)))
        self.changed[key] = fact

    def withdraw(self, prefix: bytes) -> None:
        """Say that the rows below a prefix that this commit has put will not be there."""
        for key in [key for key in self.changed if key.startswith(prefix)]:
            self.put(key, None)

    def emit(self, event: Event) -> None:
        """Add an event."""
        self.events.append(event)

    def changed_since(self, prefix: bytes, position: int) -> bool:
        """Return whether anything in a kind and namespace may have changed behind a position."""
        return self._ranges.changed_at(prefix) > position

    def history_policy(self, key: bytes) -> HistoryPolicy:
        """Return how much history the record keeps."""
        return self._policies.of(key)

    def draw_id(self) -> str:
        """Return a fresh id: 28 hexadecimal digits, the first 16 ordered by time."""
        return f"{self.time:016x}{os.urandom(6).hex()}"

    def savepoint(self) -> _Savepoint:
        """Return where the draft stands."""
        return _Savepoint(len(self._undo), len(self.events))

    def restore(self, savepoint: object) -> None:
        """Undo everything since the savepoint."""
        assert isinstance(savepoint, _Savepoint)
        while len(self._undo) > savepoint.puts:
            key, before = self._undo.pop()
            if before is _ABSENT:
                del self.changed[key]
            else:
                self.changed[key] = before
        del self.events[savepoint.events :]


class Ranges:
    """When a kind's records in a namespace last changed, for range guards.

    Bounded: when full it is emptied and everything counts as changed at that moment, as it does at start. A guard can
    then fail without need, and the transaction runs again; it can never hold wrongly.
    """

    def __init__(self, position: int) -> None:
        self._floor = position
        self.changed: dict[bytes, int] = {}

    def changed_at(self, prefix: bytes) -> int:
        """Return the commit of the last change, or a later one."""
        return self.changed.get(prefix, self._floor)

    def note(self, key: bytes, seq: int) -> None:
        """Note that a record changes in a commit."""
        if len(self.changed) >= _RANGES_MAX:
            self.changed.clear()
            self._floor = seq
        self.changed[key[: namespace_end(key)]] = seq


class Sequencer:
    """Turns checked writes into commits, in order."""

    def __init__(
        self, *, last_seq: int, last_time: int, facts: FactCache, policies: Policies, shard_labels: int
    ) -> None:
        self.facts = facts
        self.policies = policies
        self.last_seq = last_seq
        self.last_time = last_time
        self.ranges = Ranges(last_seq)
        self._shard_labels = shard_labels

    def sequence(self, operation: WriteOperation[Any], author: Author, now: int) -> Sequenced | Sequence[bytes]:
        """Return the commit, or the rows that must be learnt before.

        now: the clock in microseconds; journal time never goes back. A refusal that depends on what is stored is a
        commit too, so that a retry is refused alike and no refusal is told before what it is based on is durable.
        Raises Stale when the operation must be prepared again, TooLarge when its commit is over the limit.
        """
        needs = operation.needs(self.facts)
        known = self.facts.gather(needs)
        if known is None:
            return needs
        seq, time = self.last_seq + 1, max(now, self.last_time)
        draft = SequencerDraft(seq, time, known, self.ranges, self.policies, self._shard_labels)
        beginning = draft.savepoint()
        try:
            reply = table.encode(operation.write(draft))
        except errors.RequestError as error:
            draft.restore(beginning)
            reply = table.encode(error_reply(error))
        tag = table.tag_of(type(operation.request)) if author.session_id else 0
        principal, session_id, number, floor, digest = author
        events = tuple(draft.events)
        commit = Commit(time, principal, tag, session_id, number, floor, digest, reply, events)
        payload = table.encode(commit)
        if len(payload) > limits.COMMIT_BYTES_MAX:
            raise errors.TooLarge(
                f"would write {len(payload)} bytes in one commit; commit_bytes_max is {limits.COMMIT_BYTES_MAX}"
            )
        self._take(seq, time, draft)
        return Sequenced(seq, commit, payload, tuple(draft.changed))

    def _take(self, seq: int, time: int, draft: SequencerDraft) -> None:
        self.last_seq, self.last_time = seq, time
        for key, fact in draft.changed.items():
            self.facts.pending(key, fact, seq)
        for event in draft.events:
            if event.alters:
                self.ranges.note(event.key, seq)

    def applied(self, seq: int, commit: Commit, changed: Sequence[bytes]) -> None:
        """A commit is applied: what it changed is known from applied state now, settings take effect."""
        self.facts.applied(changed, seq)
        for event in commit.events:
            if isinstance(event, SettingsChanged):
                self.policies.set(event.key, event.policy)

    def roll_back(self, last_seq: int) -> None:
        """Take back every commit behind last_seq: none of them reached the journal, all before are applied."""
        self.last_seq = last_seq
        self.facts.drop_pending()
