"""Tickets and lanes: what keeps the order of a connection's requests.

A lane is one connection's (or one of the daemon's own chores') writes on their way. While its first write waits for
rows to be fetched, those behind it wait too. A read that touches a record with a write on its way in the same lane
waits until that write is applied, so that a connection sees its own writes and replies keep the order per key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from recollectd.memory.kind import WriteOperation
from recollectd.memory.sequencer import Author, Sequenced

if TYPE_CHECKING:
    from recollectd.protocol.errors import RecollectdError

# Told how a write ended: its commit's seq (0 for a refusal that is no commit) and the reply, as bytes or as an error.
Answer = Callable[[int, "bytes | RecollectdError"], None]


class Ticket:
    """One write on its way, from acceptance to the reply.

    answer: called once, or when `answers` holds more: retries of the same number that joined. deadline: loop time in
    seconds after which it must not be started any more. size_bytes: what it holds of the bounds on memory.
    """

    __slots__ = (
        "answered",
        "answers",
        "asynchronous",
        "author",
        "deadline",
        "failed",
        "lane",
        "operation",
        "pinned",
        "prepared",
        "sequenced",
        "size_bytes",
        "tries",
        "waiters",
        "waits",
    )

    def __init__(
        self,
        lane: Lane,
        operation: WriteOperation[Any],
        author: Author,
        answer: Answer,
        *,
        deadline: float,
        size_bytes: int,
        asynchronous: bool = False,
    ) -> None:
        self.lane = lane
        self.operation = operation
        self.author = author
        self.answers = [answer]
        self.answered = False
        self.asynchronous = asynchronous
        self.deadline = deadline
        self.failed: RecollectdError | None = None
        self.size_bytes = size_bytes
        self.pinned: tuple[bytes, ...] = ()
        self.prepared = not operation.prepares
        self.sequenced: Sequenced | None = None
        self.tries = 0
        self.waiters: list[Callable[[], None]] = []
        self.waits = 0

    def answer(self, seq: int, reply: bytes | RecollectdError) -> None:
        """Tell everybody who asked how it ended; only the first time counts."""
        if not self.answered:
            self.answered = True
            for answer in self.answers:
                answer(seq, reply)


class Lane:
    """The writes of one connection that are on their way.

    waiting: not sequenced yet, in order; flying: the last one sequenced and not applied; last: the last one of all.
    """

    __slots__ = ("flying", "last", "pending", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Ticket] = deque()
        self.flying: Ticket | None = None
        self.pending: dict[bytes, Ticket] = {}
        self.last: Ticket | None = None

    def enter(self, ticket: Ticket) -> None:
        """A write begins its way."""
        for key in ticket.operation.keys or ():
            self.pending[key] = ticket
        self.last = ticket

    def leave(self, ticket: Ticket) -> None:
        """A write has ended: applied or refused."""
        for key in ticket.operation.keys or ():
            if self.pending.get(key) is ticket:
                del self.pending[key]
        if self.last is ticket:
            self.last = None
        if self.flying is ticket:
            self.flying = None
        waiters, ticket.waiters = ticket.waiters, []
        for resume in waiters:
            resume()

    def blocking(self, keys: tuple[bytes, ...] | None) -> Ticket | None:
        """Return a write on its way that a read of these keys must wait for; None for keys stands for any.

        A write whose keys are not known beforehand stands in the way of every read.
        """
        last = self.last
        if last is None:
            return None
        if keys is None:
            return last
        for key in keys:
            ticket = self.pending.get(key)
            if ticket is not None:
                return ticket
        return next((each for each in self.waiting if each.operation.keys is None), None)
