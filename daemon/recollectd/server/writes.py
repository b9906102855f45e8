"""The way of a write to its commit: exactly once, rows it needs fetched, in the order of its lane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from recollectd.memory import facts
from recollectd.memory.kind import Stale, WriteOperation
from recollectd.memory.sequencer import Sequenced, Sequencer
from recollectd.memory.sessions import Sessions
from recollectd.protocol import errors
from recollectd.server.clock import Clock
from recollectd.server.committer import Committer
from recollectd.server.lanes import Ticket
from recollectd.server.reads import Failed, Read, ReadExecutor, internal_error
from recollectd.storage.disk import DiskGuard, DiskState

if TYPE_CHECKING:
    from recollectd._native.hot_writes import HotWrite

_PREPARE_TRIES_MAX = 50
_BUSY_RETRY_MS = 20


class Underway:
    """A session's writes on their way by number. Numbers below floor are answered, says the newest that has arrived."""

    __slots__ = ("floor", "tickets")

    def __init__(self) -> None:
        self.floor = 0
        self.tickets: dict[int, Ticket | HotWrite] = {}


class WriteRouter:
    """Takes writes in, hands commits to the committer. Lives on the event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        sequencer: Sequencer,
        sessions: Sessions,
        committer: Committer,
        reads: ReadExecutor,
        clock: Clock,
        disk: DiskGuard,
        unapplied_bytes_max: int,
        sessions_max: int,
        refuse: Callable[[WriteOperation[Any]], errors.RecollectdError | None] = lambda operation: None,
    ) -> None:
        self._loop = loop
        self._sequencer = sequencer
        self._sessions = sessions
        self._committer = committer
        self._reads = reads
        self._clock = clock
        self._disk = disk
        self._unapplied_bytes_max = unapplied_bytes_max
        self._sessions_max = sessions_max
        self._refuse = refuse
        self.underway: dict[bytes, Underway] = {}
        self._fetching: dict[bytes, list[Callable[[errors.RecollectdError | None], None]]] = {}
        self._wanted: list[bytes] = []
        self._fetch_scheduled = False
        self.stopping = False

    def submit(self, ticket: Ticket) -> None:
        """Take a write. It will be answered, or raises what refuses it at once: nothing was executed then."""
        if ticket.author.session_id and not self._enrol(ticket):
            return
        lane = ticket.lane
        lane.enter(ticket)
        for reading in lane.readings_before(ticket):
            ticket.waits += 1
            reading.waiters.append(lambda: self._waited(ticket))
        if lane.waiting or ticket.waits:
            if ticket.prepared and ticket.original is None:
                self._learn(ticket, ticket.operation.needs(self._sequencer.facts))  # while it waits for its turn
            lane.waiting.append(ticket)
        elif not self._advance(ticket):
            lane.waiting.append(ticket)

    def _enrol(self, ticket: Ticket) -> bool:
        """Find out whether a numbered write is a retry; False when its original has ended, and it is answered."""
        author = ticket.author
        underway = self.underway.get(author.session_id)
        original = underway.tickets.get(author.number) if underway is not None else None
        if original is not None:
            if original.digest != author.digest:
                raise errors.NumberReused(f"number {author.number} is another request")
            ticket.original = original
            return True
        known = self._sessions.outcome(author.session_id, author.number, author.digest)
        if known is not None:
            ticket.answer(known.seq, known.reply)
            return False
        self._check_room(ticket)
        if underway is None:
            underway = self.underway[author.session_id] = Underway()
        underway.tickets[author.number] = ticket
        underway.floor = max(underway.floor, author.floor)
        return True

    def _follow(self, retry: Ticket, original: Ticket | HotWrite) -> bool:
        """Take a retry one step on, behind its original, which another lane may hold; True when that is sequenced.

        So what is sent behind the retry comes behind the original. It is answered when the original has ended, which
        may have been answered before it was durable; a retry that wants no more than that is answered as early.
        """
        if original.sequenced is None and original.outcome is None:
            retry.waits += 1
            original.followers.append(lambda: self._waited(retry))
            return False
        if original.sequenced is None or not original.lane.holds(original):
            self._end_behind(retry, *original.outcome or (0, b""))
            return True
        retry.sequenced = original.sequenced
        retry.lane.flying = retry
        if retry.asynchronous and isinstance(original, Ticket) and original.asynchronous:
            if original.outcome is None:
                original.answers.append(retry.answer)
            else:
                retry.answer(*original.outcome)
        original.waiters.append(lambda: self._end(retry, *original.outcome or (0, b"")))
        return True

    def room_bytes(self) -> int:
        """Return how many bytes of plain writes may be taken now; 0 where none may."""
        if self.stopping or self._disk.state() is DiskState.LOW:
            return 0
        return max(0, self._unapplied_bytes_max - self._committer.unapplied_bytes)

    def _check_room(self, ticket: Ticket) -> None:
        if self.stopping:
            raise errors.ShuttingDown(retry_after_ms=1_000)
        if self._committer.unapplied_bytes > self._unapplied_bytes_max:
            raise errors.Busy("writes come faster than they can be applied", retry_after_ms=_BUSY_RETRY_MS)
        if len(self._sessions) >= self._sessions_max and ticket.author.session_id not in self._sessions:
            raise errors.Busy("there are too many sessions; the oldest are forgotten in time", retry_after_ms=5_000)
        refusal = self._refuse(ticket.operation)
        if refusal is not None:
            raise refusal
        if not ticket.operation.frees and self._disk.state() is DiskState.LOW:
            raise errors.DiskFull(retry_after_ms=1_000)

    def _advance(self, ticket: Ticket) -> bool:
        """Take a write one step on; True when it has left the waiting."""
        if ticket.original is not None:
            return self._follow(ticket, ticket.original)
        failed = ticket.failed or self._too_late(ticket)
        if failed is not None:
            self._end_behind(ticket, 0, failed)
            return True
        if not ticket.prepared:
            self._prepare(ticket)
            return False
        if ticket.operation.idle:
            self._end_behind(ticket, 0, b"")
            return True
        try:
            result = self._sequencer.sequence(ticket.operation, ticket.author, self._clock.now())
        except Stale:
            ticket.prepared = False
            self._prepare(ticket)
            return False
        except errors.RecollectdError as error:
            self._end_behind(ticket, 0, error)
            return True
        except Exception as error:
            self._end_behind(ticket, 0, internal_error(error))
            return True
        if not isinstance(result, Sequenced):
            self._learn(ticket, result)
            return False
        self._unpin(ticket)
        ticket.sequenced = result
        ticket.lane.flying = ticket
        ticket.waiters.append(lambda: self._forget(ticket))
        self._committer.add(ticket, result)
        followers, ticket.followers = ticket.followers, []
        for resume in followers:
            resume()
        return True

    def _too_late(self, ticket: Ticket) -> errors.RecollectdError | None:
        """Return why a write must not be started any more. One given up must not take effect behind a later one."""
        if ticket.deadline < self._loop.time():
            return errors.DeadlineExceeded()
        underway = self.underway.get(ticket.author.session_id)
        if underway is not None and ticket.author.number < underway.floor:
            return errors.OutcomeUnknown(f"a later write says that {ticket.author.number} is answered")
        return None

    def _forget(self, ticket: Ticket) -> None:
        underway = self.underway.get(ticket.author.session_id)
        if underway is not None:
            del underway.tickets[ticket.author.number]
            if not underway.tickets:
                del self.underway[ticket.author.session_id]

    def _end_behind(self, ticket: Ticket, seq: int, reply: bytes | errors.RecollectdError) -> None:
        """End a write without a commit of its own, behind the writes before it, for which it stands in its lane."""
        self._unpin(ticket)
        flying = ticket.lane.flying
        if flying is None:
            self._end(ticket, seq, reply)
        else:
            flying.waiters.append(lambda: self._end(ticket, seq, reply))

    def _end(self, ticket: Ticket, seq: int, reply: bytes | errors.RecollectdError) -> None:
        if ticket.original is None:
            self._forget(ticket)
        ticket.answer(seq, reply)
        ticket.lane.leave(ticket)

    def _unpin(self, ticket: Ticket) -> None:
        self._sequencer.facts.unpin(ticket.pinned)
        ticket.pinned = ()

    def _learn(self, ticket: Ticket, needs: Sequence[bytes]) -> None:
        """Fetch the rows a write needs that are not at hand; each is fetched once, whoever waits for it."""
        known = self._sequencer.facts
        known.pin(needs)
        self._unpin(ticket)
        ticket.pinned = tuple(needs)
        for key in dict.fromkeys(needs):
            if not known.knows(key):
                ticket.waits += 1
                self._ask(key, partial(self._came, ticket))
                self._schedule_fetch()

    def _came(self, ticket: Ticket, error: errors.RecollectdError | None) -> None:
        if error is not None:
            ticket.failed = error  # what cannot be read cannot be written over
        self._waited(ticket)

    def fetch(self, keys: Sequence[bytes], told: Callable[[], None]) -> None:
        """Fetch rows that somebody has pinned, and call back; one that cannot be read is not known then."""
        missing = [key for key in keys if not self._sequencer.facts.knows(key)]
        left = len(missing)
        if not left:
            self._loop.call_soon(told)

        def came(error: errors.RecollectdError | None) -> None:
            nonlocal left
            left -= 1
            if not left:
                told()

        for key in missing:
            self._ask(key, came)
        self._fetch()

    def _ask(self, key: bytes, came: Callable[[errors.RecollectdError | None], None]) -> None:
        waiting = self._fetching.get(key)
        if waiting is None:
            self._fetching[key] = [came]
            self._wanted.append(key)
        else:
            waiting.append(came)

    def _schedule_fetch(self) -> None:
        if self._wanted and not self._fetch_scheduled:
            self._fetch_scheduled = True
            self._loop.call_soon(self._fetch)

    def _fetch(self) -> None:
        wanted, self._wanted, self._fetch_scheduled = self._wanted, [], False
        if wanted:
            read = Read(lambda view: facts.load(wanted), lambda position, rows: self._learnt(wanted, rows))
            self._reads.submit(read)

    def _learnt(self, wanted: list[bytes], rows: dict[bytes, Any] | Failed) -> None:
        failed = rows.error if isinstance(rows, Failed) else None
        if not isinstance(rows, Failed):
            self._sequencer.facts.learn(rows)
        for came in [came for key in wanted for came in self._fetching.pop(key)]:
            came(failed)

    def _prepare(self, ticket: Ticket) -> None:
        """Let a write read what it needs, once what is on its way to those records is applied."""
        ticket.tries += 1
        ticket.waits += 1
        if ticket.tries > _PREPARE_TRIES_MAX:
            busy = errors.Busy("the record changes faster than this can be prepared", retry_after_ms=_BUSY_RETRY_MS)
            self._loop.call_soon(self._prepared, ticket, Failed(busy))
            return
        flying = ticket.lane.flying
        seq = flying.sequenced.seq if flying is not None and flying.sequenced is not None else 0
        seq = max(seq, self._sequencer.facts.pending_seq(ticket.operation.keys or ()))
        self._committer.when_applied(seq, lambda: self._start_preparing(ticket))

    def _start_preparing(self, ticket: Ticket) -> None:
        read = Read(ticket.operation.prepare, lambda position, result: self._prepared(ticket, result), alone=True)
        self._reads.submit(read)

    def _prepared(self, ticket: Ticket, result: Failed | None) -> None:
        ticket.prepared = True
        if isinstance(result, Failed):
            ticket.failed = result.error
        self._waited(ticket)

    def _waited(self, ticket: Ticket) -> None:
        """One thing that a write waits for has come: take on the writes of its lane that wait for nothing more."""
        ticket.waits -= 1
        waiting = ticket.lane.waiting
        while waiting and not waiting[0].waits:
            first = waiting.popleft()
            if not self._advance(first):
                waiting.appendleft(first)
                return
