"""Commits on their way through the journal: what the committer does with them, whichever way they came.

A write that came the ordinary way is a ticket and what it was sequenced to; a plain put that came the short way is a
`recollectd._native.hot_writes.HotWrite`, which has the same methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from recollectd.memory.apply import writes_of
from recollectd.memory.commits import FOLLOWS, Commit
from recollectd.memory.sequencer import Sequenced, Sequencer
from recollectd.memory.sessions import Sessions
from recollectd.server.lanes import Ticket
from recollectd.storage.keyspace import Write

if TYPE_CHECKING:
    from recollectd._native.value_cache import ValueCache
    from recollectd.protocol.errors import RecollectdError


class Pending(Protocol):
    """A sequenced commit. The methods are called in the order of commits, each for all of a step before the next."""

    @property
    def seq(self) -> int:
        """Its number."""

    @property
    def kind(self) -> int:
        """The kind of what it changes if that is one alone, 0 where it is not said."""

    @property
    def time(self) -> int:
        """Journal time in microseconds."""

    @property
    def payload(self) -> bytes:
        """The journal entry."""

    @property
    def commit(self) -> Commit:
        """What the entry says."""

    def add_rows(self, rows: list[Write], /) -> None:
        """Add the rows it becomes."""

    def written(self) -> None:
        """It is in the journal's file, not durable yet."""

    def applied(self) -> None:
        """It is visible: bring along what the sequencer and the session know."""

    def follow(self, cache: ValueCache, /) -> None:
        """Tell the value cache what it has changed."""

    def finish(self) -> None:
        """Answer, and leave the lane."""

    def refuse(self, error: RecollectdError, /) -> None:
        """It has not reached the journal and was taken back: say so, and leave the lane."""


class PendingTicket:
    """A ticket with its commit."""

    kind = 0
    __slots__ = ("_sequenced", "_sequencer", "_sessions", "_ticket", "commit", "payload", "seq")

    def __init__(self, ticket: Ticket, sequenced: Sequenced, sequencer: Sequencer, sessions: Sessions) -> None:
        self._ticket = ticket
        self._sequenced = sequenced
        self._sequencer = sequencer
        self._sessions = sessions
        self.seq = sequenced.seq
        self.commit = sequenced.commit
        self.payload = sequenced.payload

    @property
    def time(self) -> int:
        """Journal time in microseconds."""
        return self.commit.time

    def add_rows(self, rows: list[Write]) -> None:
        """Add the rows it becomes."""
        writes_of(self.seq, self.commit, rows)

    def written(self) -> None:
        """It is in the journal's file: an asynchronous write is answered now."""
        if self._ticket.asynchronous:
            self._ticket.answer(self.seq, self.commit.reply)

    def applied(self) -> None:
        """Bring along what the sequencer and the session know."""
        self._sequencer.applied(self.seq, self.commit, self._sequenced.changed)
        self._sessions.apply(self.seq, self.commit)

    def follow(self, cache: ValueCache) -> None:
        """Tell the value cache what it has changed."""
        for event in self.commit.events:
            follow = FOLLOWS.get(type(event))
            if follow is not None:
                follow(cache, self.seq, event)

    def finish(self) -> None:
        """Answer, and leave the lane."""
        self._ticket.answer(self.seq, self.commit.reply)
        self._ticket.lane.leave(self._ticket)

    def refuse(self, error: RecollectdError) -> None:
        """Take it back and say so."""
        self._ticket.sequenced = None
        self._ticket.answer(0, error)
        self._ticket.lane.leave(self._ticket)
