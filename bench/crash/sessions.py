"""Sessions that write over several connections each, lose them, and retry: what a client does, and what none would.

Every write is an `Issue`: sent once or often, byte for byte the same, until it is answered; all its answers must be
the same. What was answered, and where the journal has it, is the oracle's evidence.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from bench.crash.hints import Hints
from bench.crash.model import Mismatch
from bench.crash.observe import observe
from bench.crash.workload import Workload
from bench.wire import FLAG_ASYNC, AsyncConnection, Disconnected, RawReply
from recollectd.protocol import errors, table
from recollectd.protocol.messages.connection import ErrorReply
from recollectd.protocol.messages.fields import Reply, Request, Write

# Nothing was executed: the same number may be sent again.
NOT_EXECUTED: Final = frozenset(
    error.row.code for error in (errors.Busy, errors.DiskFull, errors.DeadlineExceeded, errors.ShuttingDown)
)
WINDOW: Final = 24
SPAN_CLAIMED_MAX: Final = 300
SETTLE_TIMEOUT_S: Final = 60.0


@dataclass(slots=True, eq=False)
class Issue:
    """One numbered write. lane: the connection it was first sent on; order: when, counted over all sessions."""

    session: Session
    number: int
    message: Write
    body: bytes
    flags: int
    span: int
    solo: bool
    lane: int
    order: int
    sent: int = 0
    answer: RawReply | None = None
    lost_answer: RawReply | None = None  # the one a power cut made void

    @property
    def is_async(self) -> bool:
        """Whether it asked for an answer before the sync."""
        return bool(self.flags & FLAG_ASYNC)

    def __repr__(self) -> str:
        kind = "async" if self.is_async else "sync"
        answers = "".join(f", answered at {each.position}" for each in (self.lost_answer, self.answer) if each)
        where = f"session {self.session.index}, order {self.order}, lane {self.lane}, sent {self.sent} times{answers}"
        return f"<{kind} write {self.number} of {where}: {self.message!r:.300}>"


class Observation(NamedTuple):
    """One read: after which position it must be, and its reply."""

    request: Request
    lower: int
    reply: Reply


@dataclass(eq=False)
class Session:
    """One client session."""

    index: int
    workload: Workload
    hints: Hints
    window: int
    id: bytes = b""
    next_number: int = 1
    floor: int = 1  # every number below was declared answered: its outcome may be forgotten
    position: int = 0
    connections: list[AsyncConnection] = field(default_factory=list)
    unanswered: dict[int, Issue] = field(default_factory=dict)
    answered: list[Issue] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def solo_free(self) -> bool:
        """Whether nothing in the session's own area is on its way."""
        return not any(issue.solo for issue in self.unanswered.values())


class Crowd:
    """All sessions of a run. evidence collects what the model must explain; trouble what no model is needed for."""

    def __init__(self, seed: str, sessions: int, path: Path, *, async_share: float) -> None:
        self.rng = random.Random(f"{seed} crowd")
        self.path = path
        self.async_share = async_share
        self.hints = Hints()
        self.sessions = [
            Session(index, Workload(f"{seed} {index}", index, self.hints), self.hints, self.rng.choice((1, 4, WINDOW)))
            for index in range(sessions)
        ]
        self.evidence: list[Issue] = []
        self.observations: list[Observation] = []
        self.trouble: list[str] = []
        self.synced_position = 0  # the highest position a sync write was answered with
        self._orders: Iterator[int] = count(1)
        self._lanes: Iterator[int] = count(1)
        self._lane_of: dict[AsyncConnection, int] = {}
        self._running = False
        self._deaf = False

    # Connections.

    async def connect(self, session: Session) -> AsyncConnection:
        """Open one more connection of a session. A session the daemon does not know starts anew."""
        connection = await AsyncConnection.open(self.path, session.id)
        if session.id and connection.session_id != session.id:
            self._forget(session)
        session.id = connection.session_id
        session.connections.append(connection)
        self._lane_of[connection] = next(self._lanes)
        return connection

    def _forget(self, session: Session) -> None:
        """The daemon gave another session id: right only if nothing of the old one had to be durable."""
        durable = [issue for issue in session.answered if not issue.is_async]
        if durable:
            self.trouble.append(f"session {session.index} was forgotten although {durable[-1]} had been answered")
        session.connections.clear()
        session.unanswered.clear()
        session.answered.clear()
        self.evidence = [issue for issue in self.evidence if issue.session is not session]
        session.next_number = session.floor = 1
        session.position = 0

    def hear_no_more(self) -> None:
        """What arrives from now on was sent by a machine whose power is gone: it was not sent."""
        self._deaf = True

    def disconnected(self) -> None:
        """Every connection is gone."""
        self._deaf = False
        for session in self.sessions:
            for connection in session.connections:
                connection.abort()
            session.connections.clear()

    # Load.

    async def run(self, seconds: float) -> None:
        """Let all sessions work for a time. Whoever stops the daemon meanwhile ends it early."""
        self._running = True
        tasks = [asyncio.create_task(self._work(session)) for session in self.sessions]
        try:
            done, _ = await asyncio.wait(tasks, timeout=seconds)
            for task in done:
                task.result()
        finally:
            self.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """Let sessions end their work where they are."""
        self._running = False
        for session in self.sessions:
            session.wake.set()

    async def _work(self, session: Session) -> None:
        rng = session.workload.rng
        try:
            while len(session.connections) < rng.choice((1, 2, 3)):
                await self.connect(session)
            while self._running:
                session.wake.clear()
                if len(session.unanswered) >= session.window:
                    await session.wake.wait()
                    continue
                self.issue(session)
                if rng.random() < 0.3:
                    self._read(session)
                if rng.random() < 0.004:
                    await self._break_connection(session)
                if rng.random() < 0.2:
                    await asyncio.sleep(rng.choice((0, 0, 0.001)))
        except (OSError, Disconnected, errors.RecollectdError):
            return  # the daemon is gone: that is what this is about

    def issue(self, session: Session, message: Write | None = None, *, sync: bool = False) -> Issue:
        """Send the session's next write; sometimes twice at once."""
        rng = session.workload.rng
        solo = False
        if message is None:
            message, solo = session.workload.write(solo_free=session.solo_free)
        number = session.next_number
        session.next_number += 1
        needed = number - min(session.unanswered, default=number)
        span = min(number - 1, max(needed, rng.randrange(SPAN_CLAIMED_MAX)))
        session.floor = max(session.floor, number - span)
        is_async = not (sync or solo) and rng.random() < self.async_share
        connection = rng.choice(session.connections)
        issue = Issue(
            session,
            number,
            message,
            table.encode(message),
            FLAG_ASYNC if is_async else 0,
            span,
            solo,
            self._lane_of[connection],
            next(self._orders),
        )
        session.unanswered[number] = issue
        self.send(issue, connection)
        if rng.random() < 0.04:
            self.send(issue, rng.choice(session.connections))
        return issue

    def send(self, issue: Issue, connection: AsyncConnection) -> None:
        """Send a write, or send it again."""
        issue.sent += 1

        def on_reply(raw: RawReply | None) -> None:
            self._take(issue, raw)

        connection.submit(issue.body, on_reply, number=issue.number, flags=issue.flags, span=issue.span)

    def _take(self, issue: Issue, raw: RawReply | None) -> None:
        session = issue.session
        if raw is None or self._deaf:
            if self._running and issue.answer is None:
                self._again(issue, 0.0)
            return
        reply = raw.decode()
        if isinstance(reply, ErrorReply) and reply.code in NOT_EXECUTED:
            if issue.answer is None and self._running:
                self._again(issue, max(reply.retry_after_ms, 1) / 1000)
            return
        if issue.answer is not None:
            if (raw.position, raw.body) != (issue.answer.position, issue.answer.body):
                self.trouble.append(f"{issue} was answered {issue.answer.decode()!r:.300}, then {reply!r:.300}")
            return
        self._settle(issue, raw, reply)
        session.wake.set()

    def _settle(self, issue: Issue, raw: RawReply, reply: Reply) -> None:
        if isinstance(reply, ErrorReply) and reply.code == errors.InternalError.row.code:
            self.trouble.append(f"{issue} met a defect: {reply}")
        session = issue.session
        issue.answer = raw
        session.unanswered.pop(issue.number, None)
        session.answered.append(issue)
        session.position = max(session.position, raw.position)
        if not issue.is_async:
            self.synced_position = max(self.synced_position, raw.position)
        self.evidence.append(issue)
        observe(self.hints, issue.message, reply, raw.position)

    def _again(self, issue: Issue, delay_s: float) -> None:
        """Send a write again in a moment, on whatever connection its session has then."""

        def resend() -> None:
            session = issue.session
            if issue.answer is None and session.unanswered.get(issue.number) is issue and session.connections:
                self.send(issue, session.workload.rng.choice(session.connections))

        asyncio.get_running_loop().call_later(delay_s, resend)

    def _read(self, session: Session) -> None:
        request = session.workload.read()
        lower = max(session.position, self.synced_position)

        def on_reply(raw: RawReply | None) -> None:
            if raw is not None and not self._deaf:
                reply = raw.decode()
                if isinstance(reply, ErrorReply) and reply.code == errors.InternalError.row.code:
                    self.trouble.append(f"{request} met a defect: {reply}")
                observe(self.hints, request, reply, raw.position)
                self.observations.append(Observation(request, lower, reply))

        connection = session.workload.rng.choice(session.connections)
        connection.submit(table.encode(request), on_reply, after=session.position)

    async def _break_connection(self, session: Session) -> None:
        """Drop a connection with whatever is in flight on it; its writes are retried on the others."""
        connection = session.connections.pop(session.workload.rng.randrange(len(session.connections)))
        await self.connect(session)
        connection.abort()

    # After a crash.

    async def settle(self) -> None:
        """Retry what was not answered until everything is. Raises Mismatch when something never is."""
        self._running = True
        give_up = asyncio.get_running_loop().time() + SETTLE_TIMEOUT_S
        try:
            for session in self.sessions:
                if not session.connections:
                    await self.connect(session)
                issues = list(session.unanswered.values())
                self.rng.shuffle(issues)
                for issue in issues:
                    self.send(issue, session.connections[0])
            for session in self.sessions:
                while session.unanswered:
                    session.wake.clear()
                    await asyncio.wait_for(session.wake.wait(), give_up - asyncio.get_running_loop().time())
        except TimeoutError:
            left = [issue for session in self.sessions for issue in session.unanswered.values()]
            raise Mismatch(f"{len(left)} writes are not answered after {SETTLE_TIMEOUT_S} s, as {left[:3]}") from None
        finally:
            self._running = False

    async def retry_lost(self) -> int:
        """After a power cut: retry acknowledged async writes that may be lost; return how many were.

        Only a suffix may be: in the journal's order, behind every write that was answered after its sync.
        """
        at_risk = [issue for issue in self.evidence if issue.answer and issue.answer.position > self.synced_position]
        lost_from: tuple[int, int] | None = None
        lost = 0
        for issue in sorted(at_risk, key=lambda issue: issue.answer.position if issue.answer else 0):
            session, before = issue.session, issue.answer
            if not session.connections:
                await self.connect(session)
            if before is None or issue not in session.answered:
                lost += 1  # with its whole session
                continue
            after = await self._retried(issue, session.connections[0])
            if (after.position, after.body) == (before.position, before.body):
                if lost_from and lost_from[0] < before.position < lost_from[1]:
                    self.trouble.append(f"{issue} survived a power cut, the write at {lost_from[0]} before it did not")
                continue
            reply = after.decode()
            if isinstance(reply, ErrorReply) and reply.code == errors.OutcomeUnknown.row.code and lost_from is None:
                continue  # a later write that survived had declared this one answered: so it survived, too
            if lost_from is None:
                lost_from = before.position, after.position
            lost += 1
            issue.lost_answer, issue.answer = before, after
        return lost

    @staticmethod
    async def _retried(issue: Issue, connection: AsyncConnection) -> RawReply:
        """Retry one write until it is answered by more than "not now"."""
        while True:
            raw = await connection.call_raw(issue.body, number=issue.number, flags=issue.flags, span=issue.span)
            reply = raw.decode()
            if not isinstance(reply, ErrorReply) or reply.code not in NOT_EXECUTED:
                return raw
            await asyncio.sleep(reply.retry_after_ms / 1_000)
