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

    waiting: not sequenced yet, in order; flying: the last one sequenced and not applied.
    """

    __slots__ = ("_anywhere", "_by_key", "_tickets", "flying", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Ticket] = deque()
        self.flying: Ticket | None = None
        self._tickets: dict[Ticket, None] = {}
        self._by_key: dict[bytes, Ticket] = {}
        self._anywhere: set[Ticket] = set()  # those that do not say what they touch

    def enter(self, ticket: Ticket) -> None:
        """A write begins its way."""
        self._tickets[ticket] = None
        if ticket.operation.keys is None:
            self._anywhere.add(ticket)
            return
        for key in ticket.operation.keys:
            self._by_key[key] = ticket

    def leave(self, ticket: Ticket) -> None:
        """A write has ended: applied or refused."""
        del self._tickets[ticket]
        self._anywhere.discard(ticket)
        for key in ticket.operation.keys or ():
            if self._by_key.get(key) is ticket:
                del self._by_key[key]
        if self.flying is ticket:
            self.flying = None
        waiters, ticket.waiters = ticket.waiters, []
        for resume in waiters:
            resume()

    def await_writes(self, keys: tuple[bytes, ...] | None, resume: Callable[[], None]) -> bool:
        """Call `resume` once the writes on their way that touch these keys (None: any) have ended.

        False, and nothing is called, when there are none. The last write to a key stands for those before it, which
        are sequenced and applied before it; a write that does not say what it touches touches everything.
        """
        if not self._tickets:
            return False
        if keys is None:
            blocking = set(self._tickets)
        else:
            blocking = {self._by_key[key] for key in keys if key in self._by_key} | self._anywhere
        left = len(blocking)

        def ended() -> None:
            nonlocal left
            left -= 1
            if not left:
                resume()

        for ticket in blocking:
            ticket.waiters.append(ended)
        return bool(blocking)
