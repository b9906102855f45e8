"""Tickets and lanes: what keeps the order of a connection's requests.

A lane is one connection's (or one of the daemon's own chores') requests on their way. While its first write waits for
rows to be fetched, those behind it wait too. Where a read and a write touch the same record, the one that was sent
second waits until the first has ended: a read sees every write before it and none behind it, and replies keep the order
per key. All waiting is for what arrived earlier, so it always ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from recollectd.memory.kind import WriteOperation
from recollectd.memory.sequencer import Author, Sequenced

if TYPE_CHECKING:
    from recollectd._native.hot_writes import HotWrite
    from recollectd.protocol.errors import RecollectdError
    from recollectd.server.intake import Marks

# Told how a write ended: its commit's seq (0 for a refusal that is no commit) and the reply, as bytes or as an error.
Answer = Callable[[int, "bytes | RecollectdError"], None]


class Ticket:
    """One write on its way, from acceptance to the reply.

    answer: called once; `answers` holds those of retries that joined, too. deadline: loop time in seconds after which
    it must not be started any more. size_bytes: what it holds of the bounds on memory. original: what this is a retry
    of. outcome: what `answer` was told. waiters: called when it has left its lane; followers: when it is sequenced, or
    has left without.
    """

    __slots__ = (
        "answers",
        "asynchronous",
        "author",
        "deadline",
        "failed",
        "followers",
        "lane",
        "operation",
        "original",
        "outcome",
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
        self.asynchronous = asynchronous
        self.deadline = deadline
        self.failed: RecollectdError | None = None
        self.followers: list[Callable[[], None]] = []
        self.original: Ticket | HotWrite | None = None
        self.outcome: tuple[int, bytes | RecollectdError] | None = None
        self.size_bytes = size_bytes
        self.pinned: tuple[bytes, ...] = ()
        self.prepared = not operation.prepares
        self.sequenced: Sequenced | HotWrite | None = None
        self.tries = 0
        self.waiters: list[Callable[[], None]] = []
        self.waits = 0

    @property
    def digest(self) -> int:
        """Of the request's bytes: a retry has the same."""
        return self.author.digest

    def answer(self, seq: int, reply: bytes | RecollectdError) -> None:
        """Tell everybody who asked how it ended; only the first time counts."""
        if self.outcome is None:
            self.outcome = seq, reply
            for answer in self.answers:
                answer(seq, reply)


class Reading:
    """One read on its way. keys: what it touches, None for any; waiters: called when it has ended."""

    __slots__ = ("keys", "waiters")

    def __init__(self, keys: tuple[bytes, ...] | None) -> None:
        self.keys = keys
        self.waiters: list[Callable[[], None]] = []


class Lane:
    """The requests of one connection that are on their way.

    waiting: writes not sequenced yet, in order; flying: the last one sequenced and not applied; tickets, by_key: all
    writes on their way, and the last one of each record, hot ones among them. marks: told which
    records the writes touch, for reads that do not ask the lane.
    """

    __slots__ = ("_anywhere", "_marks", "by_key", "flying", "readings", "tickets", "waiting", "walks")

    def __init__(self, marks: Marks | None = None) -> None:
        self._marks = marks
        self.waiting: deque[Ticket] = deque()
        self.flying: Ticket | HotWrite | None = None
        self.tickets: dict[Ticket | HotWrite, None] = {}
        self.by_key: dict[bytes, Ticket | HotWrite] = {}
        self._anywhere: set[Ticket] = set()  # those that do not say what they touch
        # Reads that no write behind them waits for yet: by key, and those that touch any.
        self.readings: dict[bytes, dict[Reading, None]] = {}
        self.walks: dict[Reading, None] = {}

    def enter(self, ticket: Ticket) -> None:
        """A write begins its way."""
        self.tickets[ticket] = None
        if self._marks is not None:
            self._marks.mark(ticket.operation.keys)
        if ticket.operation.keys is None:
            self._anywhere.add(ticket)
            return
        for key in ticket.operation.keys:
            self.by_key[key] = ticket

    def leave(self, ticket: Ticket) -> None:
        """A write has ended: applied or refused."""
        del self.tickets[ticket]
        if self._marks is not None:
            self._marks.unmark(ticket.operation.keys)
        self._anywhere.discard(ticket)
        for key in ticket.operation.keys or ():
            if self.by_key.get(key) is ticket:
                del self.by_key[key]
        if self.flying is ticket:
            self.flying = None
        waiters = (*ticket.followers, *ticket.waiters)
        ticket.followers, ticket.waiters = [], []
        for resume in waiters:
            resume()

    def holds(self, ticket: Ticket | HotWrite) -> bool:
        """Return whether a write is on its way here."""
        return ticket in self.tickets

    def await_writes(self, keys: tuple[bytes, ...] | None, resume: Callable[[], None]) -> bool:
        """Call `resume` once the writes on their way that touch these keys (None: any) have ended.

        False, and nothing is called, when there are none. The last write to a key stands for those before it, which
        are sequenced and applied before it; a write that does not say what it touches touches everything.
        """
        if not self.tickets:
            return False
        if keys is None:
            blocking = dict.fromkeys(self.tickets)
        else:
            blocking = dict.fromkeys(self.by_key[key] for key in keys if key in self.by_key)
            blocking.update(dict.fromkeys(self._anywhere))
        left = len(blocking)

        def ended() -> None:
            nonlocal left
            left -= 1
            if not left:
                resume()

        for ticket in blocking:
            ticket.waiters.append(ended)
        return bool(blocking)

    def begin(self, reading: Reading) -> None:
        """A read begins its way."""
        if reading.keys is None:
            self.walks[reading] = None
            return
        for key in reading.keys:
            self.readings.setdefault(key, {})[reading] = None

    def end(self, reading: Reading) -> None:
        """A read has been answered."""
        self.walks.pop(reading, None)
        for key in reading.keys or ():
            beside = self.readings.get(key)
            if beside is not None:
                beside.pop(reading, None)
                if not beside:
                    del self.readings[key]
        for resume in reading.waiters:
            resume()

    def readings_before(self, ticket: Ticket) -> Collection[Reading]:
        """Return the reads on their way that a write, just entered, touches too, for it to wait for.

        Each is told to one write of a record only: writes behind that one are sequenced behind it.
        """
        keys = ticket.operation.keys
        if not self.readings and not self.walks:
            return ()
        before = dict(self.walks)
        self.walks.clear()
        for key in tuple(self.readings) if keys is None else keys:
            before.update(self.readings.pop(key, {}))
        return before
