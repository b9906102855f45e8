"""Rounds of work, crash, recovery and proof, on one store.

One round: sessions work on the daemon until it is crashed; it starts again with options drawn anew (and is sometimes
killed while it recovers); every write that was not answered is retried; the model explains all answers in the order of
the journal; everything the store holds is compared with the model; the daemon is crashed and recovers once more, and
holds the same. A seed decides everything but the moments at which things happen to meet.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Raw

from bench.crash import arms, configurations, dump, feed, layers, moving, state_model, views
from bench.crash.evidence import check_observations, check_order, in_order
from bench.crash.model import Mismatch, Model
from bench.crash.records import State
from bench.crash.sessions import Crowd, Issue, Session
from bench.crash.workload import SHARED, SHORT_LIVED, SLIDING, SOLO_KEYS, STATE_KEYS, solo_namespace
from bench.process import DaemonProcess
from bench.wire import AsyncConnection
from recollectd.protocol import errors, table
from recollectd.protocol.messages import conversations, search_settings, vector_spaces
from recollectd.protocol.messages.connection import Deleted, ErrorReply, Ping, Pong
from recollectd.protocol.messages.fields import Write
from recollectd.protocol.messages.state import StatePut

RETRIED_OUTCOMES: Final = 25
DAMAGED_SHARE: Final = 0.15
# So often a crash waits until a merge that is under way has ended.
MERGED_SHARE: Final = 0.5
MOVED_SHARE: Final = 0.4
ROUND_S_MAX: Final = 120.0  # far beyond any round: something is never answered
_BARRIER: Final = StatePut(SHARED[0], "barrier", Raw(table.encode("barrier")))
_DEEDS: Final = (
    *("vectors given later", "vectors given to messages later", "messages with vectors"),
    *("spaces dropped", "names switched to a space", "searches configured"),
)


class Plan(NamedTuple):
    """What kind of rounds to run. seconds: how long sessions work in one round, from ... to."""

    layer: str
    seconds: tuple[float, float] = (0.05, 0.5)
    sessions: int = 6


class Tally(NamedTuple):
    """What rounds came to."""

    rounds: int
    writes: int
    async_writes: int
    refused: int
    resent: int
    async_lost: int
    reads: int
    recoveries: int
    recovery_s_max: float
    notes: dict[str, int]


class Store:
    """One data folder through many rounds. Raises Mismatch (or StartFailed) at the first broken promise."""

    def __init__(self, seed: str, folder: Path, plan: Plan) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.layer = layers.LAYERS[plan.layer](folder)
        self.daemon = DaemonProcess(folder, self.layer.data)
        self.plan = plan
        self.history_count = self.rng.choice((0, 1, 3, 100))
        self.model = Model(self.history_count)
        self.crowd = Crowd(seed, plan.sessions, self.daemon.socket, async_share=self.rng.choice((0.0, 0.3, 0.7)))
        self.rounds = self.recoveries = self.writes = self.async_writes = 0
        self.refused = self.resent = self.async_lost = self.reads = 0
        self.recovery_s_max = 0.0

    async def run(self, rounds: int, deadline: float) -> None:
        """Run rounds until done or loop time is over; the last crash is followed by a last proof."""
        loop = asyncio.get_running_loop()
        try:
            await self.recover()
            while self.rounds < rounds and loop.time() < deadline:
                async with asyncio.timeout(ROUND_S_MAX):
                    await self.work()
                    await self.recover()
                    await self.prove()
                self.rounds += 1
        finally:
            self.daemon.kill()

    def tally(self) -> Tally:
        """Return what happened so far."""
        return Tally(
            self.rounds,
            self.writes,
            self.async_writes,
            self.refused,
            self.resent,
            self.async_lost,
            self.reads,
            self.recoveries,
            self.recovery_s_max,
            self.layer.notes,
        )

    # Steps.

    async def work(self) -> None:
        """Let the sessions work, crash the daemon in the middle."""
        self.layer.disturb(self.rng)
        load = asyncio.create_task(self.crowd.run(60.0))
        await asyncio.sleep(self.rng.uniform(*self.plan.seconds))
        if self.rng.random() < 0.2:
            self.layer.calm()
            await asyncio.sleep(self.rng.uniform(*self.plan.seconds))
        self.crash()
        # What the daemon had sent before it ended still arrives: it counts as acknowledged.
        await self._hung_up()
        self.crowd.stop()
        await load
        self.crowd.disconnected()

    def crash(self) -> None:
        """End the daemon as the layer does it; rarely as an operator does."""
        if self.daemon.running and self.rng.random() < 0.05:
            self.layer.calm()
            if not self.layer.has_failed:
                code = self.daemon.terminate()
                if code != 0:
                    raise Mismatch(f"SIGTERM ended the daemon with {code}\n{self.daemon.log_tail()}")
                self.layer.note("stops by SIGTERM")
                return
        if self.layer.crash(self.daemon, self.rng):
            self.crowd.hear_no_more()
        self.layer.calm()

    async def _hung_up(self) -> None:
        connections = [each for session in self.crowd.sessions for each in session.connections]
        while not all(connection.lost for connection in connections):
            await asyncio.sleep(0.001)

    async def recover(self) -> None:
        """Start the daemon, sometimes killing it while it starts, until it is ready."""
        options = {**configurations.draw(self.rng), "history.count": self.history_count, "history.age_s": 0}
        way = configurations.draw_way(self.rng)
        if self.recoveries and self.rng.random() < DAMAGED_SHARE:
            self.layer.note(f"view files {views.damage(self.layer.data, self.rng)}")
        while self.rng.random() < 0.25:
            self.daemon.launch(options, {**self.layer.environment(), **way})  # anew for each process
            await asyncio.sleep(self.rng.uniform(0.0, 0.6))
            self.layer.crash(self.daemon, self.rng)
            self.layer.note("kills during recovery")
        seconds = await asyncio.to_thread(self.daemon.start, options, {**self.layer.environment(), **way})
        self.recoveries += 1
        self.recovery_s_max = max(self.recovery_s_max, seconds)

    async def prove(self) -> None:
        """Retry, let the model explain everything, compare; crash, recover, compare again."""
        if self.layer.loses_async:
            self.async_lost += await self.crowd.retry_lost()
        await self.crowd.settle()
        before, barrier = self.model.seq, await self._barrier()
        self._explain()
        await self._watch(before, barrier)
        connection = self.crowd.sessions[0].connections[0]
        await self._swept(connection)
        first = await self._dump(connection)
        self.layer.note("memories whose accesses count", sum(each.access_count > 0 for each in first.memories.values()))
        complaints = list(dump.differences(dump.expected(self.model), first))
        for namespace in (*SHARED, SHORT_LIVED, solo_namespace(0)):
            complaints += await dump.check_walks(connection, first, namespace, self.rng)
        searched = await self._search(connection, first)
        for namespace, found in searched.items():
            complaints += arms.check(first.held(namespace), found)
        complaints += await self._retry_outcomes()
        self._complain(complaints)
        if self.rng.random() < MERGED_SHARE:
            await views.merged(connection)
        for what, count in (await views.happened(connection)).items():
            self.layer.note(what, count)
        self.layer.crash(self.daemon, self.rng)
        self.layer.calm()
        await self._hung_up()
        self.crowd.disconnected()
        await self.recover()
        connection = await self.crowd.connect(self.crowd.sessions[0])
        second = await self._dump(connection)
        complaints = [
            f"after another recovery: {text}" for text in dump.differences(dump.later(first, self.model), second)
        ]
        for namespace, found in (await self._search(connection, first)).items():
            complaints += [f"after another recovery: {text}" for text in arms.differences(searched[namespace], found)]
        complaints += await self._retry_outcomes()
        self._complain(complaints)

    @staticmethod
    async def _search(connection: AsyncConnection, held: dump.Dump) -> dict[tuple[str, ...], dict[str, arms.Scores]]:
        """Return what every search of the shared namespaces finds."""
        return {namespace: await arms.find(connection, held.held(namespace)) for namespace in SHARED}

    async def _dump(self, connection: AsyncConnection) -> dump.Dump:
        solo = (solo_namespace(session.index) for session in self.crowd.sessions)
        namespaces = (*SHARED, SHORT_LIVED, SLIDING, *solo)
        return await dump.take(connection, namespaces, (*STATE_KEYS, *SOLO_KEYS, "barrier"), self.rng)

    async def _barrier(self) -> int:
        """Write synchronously once more: everything before is durable then. Return that write's position."""
        for session in self.crowd.sessions:
            if not session.connections:
                await self.crowd.connect(session)
        first = self.crowd.sessions[0]
        barrier = self.crowd.issue(first, _BARRIER, sync=True)
        await self.crowd.settle()
        assert barrier.answer is not None
        if self.rng.random() < 0.3:
            self.crowd.issue(first, first.workload.configure(), sync=True)
            await self.crowd.settle()
        if self.rng.random() < MOVED_SHARE:
            await moving.move(self.crowd, first, self.rng.choice(SHARED))
        return barrier.answer.position

    async def _watch(self, after: int, until: int) -> None:
        """Compare the feed of changes since the last proof with what the model played."""
        changes = await asyncio.to_thread(feed.read_feed, self.daemon.socket, after, until)
        if changes is None:
            self.layer.note("feeds trimmed")
        else:
            self.layer.note("changes in feeds", len(changes))
            self._complain(feed.check_feed(self.model, changes, after, until))
        self.model.timeline.clear()

    def _explain(self) -> None:
        """Let the model play what was answered since the last time."""
        evidence, self.crowd.evidence = self.crowd.evidence, []
        for played, time_max in in_order(evidence):
            self.model.play(played, time_max)
        for what in _DEEDS:
            self.layer.note(what, sum(_did(issue) == what for issue in evidence))
        complaints = self.crowd.trouble + check_order(evidence)
        complaints += check_observations(self.model, self.crowd.observations)
        self.writes += len(evidence)
        self.async_writes += sum(issue.is_async for issue in evidence)
        self.refused += sum(issue.answer is not None and issue.answer.is_error for issue in evidence)
        self.resent += sum(issue.sent > 1 for issue in evidence)
        self.reads += len(self.crowd.observations)
        self.crowd.observations = []
        self.crowd.trouble = []
        self._complain(complaints)

    async def _swept(self, connection: AsyncConnection) -> None:
        """Wait until what expires soon has expired and the sweep has said so; tell the model."""
        ends = [
            record.expires_at
            for key, record in self.model.records.items()
            if key[1] == SHORT_LIVED and isinstance(record, State) and record.expires_at is not None
        ]
        while ends:
            pong = await connection.call(Ping())
            assert isinstance(pong, Pong)
            if pong.time >= max(ends):
                break
            await asyncio.sleep(0.01)
        await dump.wait_swept(connection, self.model)
        for key, record in list(self.model.records.items()):
            if key[1] == SHORT_LIVED and isinstance(record, State) and record.expires_at is not None:
                self.model.records[key] = state_model.expired(record, self.history_count)

    async def _retry_outcomes(self) -> list[str]:
        """Retry writes that were answered long ago: the answer is the same, or the outcome is known to be forgotten."""
        complaints: list[str] = []
        for session in self.crowd.sessions:
            if not session.connections:
                await self.crowd.connect(session)
            session.answered = session.answered[-400:]
            for issue in self.rng.sample(session.answered, min(len(session.answered), RETRIED_OUTCOMES)):
                complaints += await self._retry_outcome(session, issue)
        return complaints

    async def _retry_outcome(self, session: Session, issue: Issue) -> Iterable[str]:
        assert issue.answer is not None
        changed = self.rng.random() < 0.1
        body = table.encode(_other(issue.message)) if changed else issue.body
        raw = await session.connections[0].call_raw(body, number=issue.number, flags=issue.flags, span=issue.span)
        reply = raw.decode()
        code = reply.code if isinstance(reply, ErrorReply) else 0
        forgotten = issue.number < session.floor and code == errors.OutcomeUnknown.row.code
        reused = changed and code == errors.NumberReused.row.code
        same = not changed and (raw.position, raw.body) == (issue.answer.position, issue.answer.body)
        if forgotten or reused or same:
            return []
        kind = "another request under the number of" if changed else "a retry of"
        return [f"{kind} {issue}, once answered {issue.answer.decode()!r:.300}, was answered {reply!r:.300}"]

    def _complain(self, complaints: list[str]) -> None:
        if complaints:
            more = f"\n... and {len(complaints) - 20} more" if len(complaints) > 20 else ""
            raise Mismatch("\n".join(complaints[:20]) + more)


def _did(issue: Issue) -> str:
    """Return what a write did that crashes should meet, in words, or nothing."""
    assert issue.answer is not None
    match issue.message, issue.answer.decode():
        case vector_spaces.SpaceEmbed(), vector_spaces.Embedded(embedded=each) if any(each):
            return "vectors given later"
        case vector_spaces.SpaceEmbedMessages(), vector_spaces.Embedded(embedded=each) if any(each):
            return "vectors given to messages later"
        case conversations.ConversationAppend(messages=new), conversations.MessagesStored() if any(
            each.vectors for each in new
        ):
            return "messages with vectors"
        case vector_spaces.SpaceDrop(), Deleted(deleted=1):
            return "spaces dropped"
        case vector_spaces.SpaceSwitch(), vector_spaces.Switched(switched=True):
            return "names switched to a space"
        case search_settings.SearchConfigure(), search_settings.SearchSettings():
            return "searches configured"
    return ""


def _other(message: Write) -> Write:
    """Return a request that is not this one."""
    other = StatePut(SHARED[0], "reused", Raw(table.encode("reused")))
    return other if message != other else _BARRIER


async def run_store(seed: str, folder: Path, plan: Plan, rounds: int, seconds: float) -> Tally:
    """Run rounds on a new store. Raises Mismatch, StartFailed, or what the daemon's end brought on."""
    store = Store(seed, folder, plan)
    try:
        await store.run(rounds, asyncio.get_running_loop().time() + seconds)
        store.layer.close()
    except (OSError, errors.RecollectdError) as error:  # also TimeoutError: something was never answered
        code = store.daemon.exit_code
        raise Mismatch(f"{error!r}; the daemon's exit code: {code}\n{store.daemon.log_tail()}") from error
    return store.tally()
