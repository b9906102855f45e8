"""The way of a write to its commit: exactly once, rows it needs fetched, in the order of its lane."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from recollectd.memory import facts
from recollectd.memory.kind import Stale
from recollectd.memory.sequencer import Sequenced, Sequencer
from recollectd.memory.sessions import Sessions
from recollectd.protocol import errors
from recollectd.server.clock import Clock
from recollectd.server.committer import Committer
from recollectd.server.lanes import Ticket
from recollectd.server.reads import Failed, Read, ReadExecutor, internal_error
from recollectd.storage.disk import DiskGuard, DiskState

_PREPARE_TRIES_MAX = 50
_BUSY_RETRY_MS = 20


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
    ) -> None:
        self._loop = loop
        self._sequencer = sequencer
        self._sessions = sessions
        self._committer = committer
        self._reads = reads
        self._clock = clock
        self._disk = disk
        self._unapplied_bytes_max = unapplied_bytes_max
        self._on_their_way: dict[tuple[bytes, int], Ticket] = {}
        self._fetching: dict[bytes, list[Ticket]] = {}
        self._wanted: list[bytes] = []
        self.stopping = False

    def submit(self, ticket: Ticket) -> None:
        """Take a write. It will be answered, or raises what refuses it at once: nothing was executed then."""
        author = ticket.author
        if author.session_id:
            name = (author.session_id, author.number)
            original = self._on_their_way.get(name)
            if original is not None:
                if original.author.digest != author.digest:
                    raise errors.NumberReused(f"number {author.number} is another request")
                self._join(original, ticket)
                return
            known = self._sessions.outcome(author.session_id, author.number, author.digest)
            if known is not None:
                ticket.answer(known.seq, known.reply)
                return
            self._check_room(ticket)
            self._on_their_way[name] = ticket
        lane = ticket.lane
        lane.enter(ticket)
        if lane.waiting or not self._advance(ticket):
            lane.waiting.append(ticket)

    @staticmethod
    def _join(original: Ticket, retry: Ticket) -> None:
        """Answer a retry together with the original, which may have been answered before its apply."""
        if original.answered:
            assert original.sequenced is not None
            retry.answer(original.sequenced.seq, original.sequenced.commit.reply)
        else:
            original.answers += retry.answers

    def _check_room(self, ticket: Ticket) -> None:
        if self.stopping:
            raise errors.ShuttingDown(retry_after_ms=1_000)
        if self._committer.unapplied_bytes > self._unapplied_bytes_max:
            raise errors.Busy("writes come faster than they can be applied", retry_after_ms=_BUSY_RETRY_MS)
        if not ticket.operation.frees and self._disk.state() is DiskState.LOW:
            raise errors.DiskFull(retry_after_ms=1_000)

    def _advance(self, ticket: Ticket) -> bool:
        """Take a write one step on; True when it has left the waiting."""
        if ticket.failed is None and ticket.deadline < self._loop.time():
            ticket.failed = errors.DeadlineExceeded()
        if ticket.failed is not None:
            self._refuse(ticket, ticket.failed)
            return True
        if not ticket.prepared:
            self._prepare(ticket)
            return False
        if ticket.operation.idle:
            ticket.answer(0, b"")
            ticket.lane.leave(ticket)
            return True
        try:
            result = self._sequencer.sequence(ticket.operation, ticket.author, self._clock.now())
        except Stale:
            ticket.prepared = False
            self._prepare(ticket)
            return False
        except errors.RecollectdError as error:
            self._refuse(ticket, error)
            return True
        except Exception as error:
            self._refuse(ticket, internal_error(error))
            return True
        if not isinstance(result, Sequenced):
            self._learn(ticket, result)
            return False
        self._unpin(ticket)
        ticket.sequenced = result
        ticket.lane.flying = ticket
        ticket.waiters.append(lambda: self._forget(ticket))
        self._committer.add(ticket, result)
        return True

    def _forget(self, ticket: Ticket) -> None:
        self._on_their_way.pop((ticket.author.session_id, ticket.author.number), None)

    def _refuse(self, ticket: Ticket, error: errors.RecollectdError) -> None:
        self._unpin(ticket)
        self._forget(ticket)
        ticket.answer(0, error)
        # It stood for the writes before it in the eyes of reads behind it, so it leaves after them.
        flying = ticket.lane.flying
        if flying is None:
            ticket.lane.leave(ticket)
        else:
            flying.waiters.append(lambda: ticket.lane.leave(ticket))

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
            if known.knows(key):
                continue
            ticket.waits += 1
            waiting = self._fetching.get(key)
            if waiting is None:
                self._fetching[key] = [ticket]
                if not self._wanted:
                    self._loop.call_soon(self._fetch)
                self._wanted.append(key)
            else:
                waiting.append(ticket)

    def _fetch(self) -> None:
        wanted, self._wanted = self._wanted, []
        self._reads.submit(Read(lambda view: facts.load(wanted), lambda position, rows: self._learnt(wanted, rows)))

    def _learnt(self, wanted: list[bytes], rows: dict[bytes, Any] | Failed) -> None:
        if not isinstance(rows, Failed):
            self._sequencer.facts.learn(rows)
        for key in wanted:
            for ticket in self._fetching.pop(key):
                ticket.waits -= 1
                if isinstance(rows, Failed):
                    ticket.failed = rows.error  # what cannot be read cannot be written over
                if not ticket.waits:
                    self._drain(ticket)

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
        ticket.waits -= 1
        ticket.prepared = True
        if isinstance(result, Failed):
            ticket.failed = result.error
        self._drain(ticket)

    def _drain(self, ticket: Ticket) -> None:
        """Take on the writes of a lane whose first one may have stopped waiting."""
        waiting = ticket.lane.waiting
        while waiting and not waiting[0].waits:
            if not self._advance(waiting[0]):
                return
            waiting.popleft()
