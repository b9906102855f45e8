"""The memory layer without a disk: an engine of dictionaries, and a driver that takes requests all the way.

What is left out of the real path is what waits: the journal is a list, and a commit is applied when a test says so.
Requests and replies go through their wire bytes, commits through the journal's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from memory.engine import MemoryEngine, records
from recollectd.journal.interface import Batch
from recollectd.memory import commits, facts
from recollectd.memory.apply import writes_of
from recollectd.memory.kind import Fetch, Fill, ReadOperation, Rows, Stale, WriteOperation
from recollectd.memory.recovery import recover
from recollectd.memory.sequencer import THE_DAEMON, Author, Sequenced, Sequencer
from recollectd.memory.sessions import Sessions
from recollectd.memory.settings.events import HistoryPolicy
from recollectd.memory.settings.policies import Policies
from recollectd.memory.transactions import WRITES as SEVERAL
from recollectd.protocol import errors, table
from recollectd.protocol.messages.connection import ErrorReply
from recollectd.protocol.messages.fields import Message, Reply
from recollectd.protocol.messages.fields import Write as WriteRequest
from recollectd.storage.keyspace import PUT, SESSIONS_KEY, Family, Write, pack_number

if TYPE_CHECKING:
    from recollectd.journal.interface import Journal
    from recollectd.memory.memories.views import MemoryViews
    from recollectd.storage.engine import Engine

T = TypeVar("T")

START: Final = 1_800_000_000_000_000  # microseconds: when a store's clock begins
SECOND: Final = 1_000_000
STORE_ID: Final = bytes(range(16))

WRITES: Final[dict[type[WriteRequest], type[WriteOperation[Any]]]] = {
    **{request: operation for kind in commits.KINDS for request, operation in kind.writes.items()},
    **SEVERAL,
}
READS: Final[dict[type[Message], type[ReadOperation[Any]]]] = {
    request: operation for kind in commits.KINDS for request, operation in kind.reads.items()
}


class TestView:
    """`recollectd.memory.kind.View` over a MemoryEngine."""

    __test__ = False

    def __init__(self, engine: MemoryEngine, time: int, settled: int) -> None:
        self._engine = engine
        self.time = time
        self.settled = settled
        self.position = engine.applied_seq
        self.store_id = STORE_ID
        self.memories: MemoryViews | None = None
        self.touches: list[bytes] = []

    def touched(self, key: bytes, expires_at: int) -> None:
        self.touches.append(key)

    def found(self, fill: Fill) -> None:
        """There is no cache."""

    def walk(
        self, family: Family, start: bytes, stop: bytes, *, reverse: bool = False, keys_max: int
    ) -> list[tuple[bytes, bytes]]:
        return self._engine.walk(family, start, stop, reverse=reverse, keys_max=keys_max)


def finish(
    reading: Generator[Fetch, Rows, T], engine: MemoryEngine, before: Callable[[int], None] = lambda step: None
) -> T:
    """Run a reading to its end. before is called before each fetch with its number, from 0."""
    step = 0
    try:
        fetch = next(reading)
        while True:
            before(step)
            step += 1
            fetch = reading.send(engine.get_many(fetch.family, fetch.keys))
    except StopIteration as stop:
        result: T = stop.value
        return result


def apply_commits(engine: MemoryEngine, items: Sequence[tuple[int, commits.Commit]]) -> None:
    """Write the rows of commits (seq, commit) as one batch."""
    writes: list[Write] = []
    for seq, commit in items:
        writes_of(seq, commit, writes)
    engine.write(writes, items[-1][0])


def over_the_wire(request: Message) -> Any:
    """Return the request as the daemon gets it."""
    return table.decode_request(table.encode(request))


def operation_of(request: Message) -> WriteOperation[Any]:
    """Return the checked write of a request."""
    received = over_the_wire(request)
    return WRITES[type(received)](received)


def answered(reply: bytes) -> Any:
    """Return a reply as the client gets it, an error reply as the exception it stands for."""
    decoded = table.decode_reply(reply)
    if isinstance(decoded, ErrorReply):
        raise errors.from_wire(*(getattr(decoded, field) for field in decoded.__struct_fields__))
    return decoded


class Store:
    """One store in memory with its sequencer, sessions and journal; time stands still until a test moves it.

    position counts what is applied; `waiting` are commits sequenced and not applied.
    """

    def __init__(
        self,
        *,
        policy: HistoryPolicy = HistoryPolicy(),  # noqa: B008  # frozen
        facts_count_max: int = 10_000,
        shard_labels: int = 1,
    ) -> None:
        self.engine = MemoryEngine()
        self.journal: list[bytes] = []
        self.sessions = Sessions()
        self.waiting: deque[Sequenced] = deque()
        self.now = START
        self._durable = MemoryEngine()
        self._policy = policy
        self._facts_count_max = facts_count_max
        self._shard_labels = shard_labels
        self._begin(Policies(policy))

    def _begin(self, policies: Policies) -> None:
        self.facts = facts.FactCache(self._facts_count_max)
        self.sequencer = Sequencer(
            last_seq=len(self.journal),
            last_time=self.last_time,
            facts=self.facts,
            policies=policies,
            shard_labels=self._shard_labels,
        )

    @property
    def last_time(self) -> int:
        """Of the last applied commit."""
        return commits.decode(self.journal[-1]).time if self.journal else 0

    # -- reads --------------------------------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        return self.engine.applied_seq

    def view(self) -> TestView:
        return TestView(self.engine, max(self.now, self.sequencer.last_time), self.last_time)

    def read(
        self,
        request: Message,
        *,
        view: TestView | None = None,
        before: Callable[[int], None] = lambda step: None,
    ) -> Any:
        """Return the reply to a read; before is called before each of its fetches with the fetch's number, from 0."""
        received = over_the_wire(request)
        reading = READS[type(received)](received).read(view or self.view())
        reply: Reply = finish(reading, self.engine, before)
        return answered(table.encode(reply))

    # -- writes -------------------------------------------------------------------------------------------------------

    def write(self, request: Message, author: Author = THE_DAEMON) -> Any:
        """Carry out a write, apply it and all before it; return its reply."""
        sequenced = self.sequence(operation_of(request), author)
        self.apply()
        return answered(sequenced.commit.reply)

    def sequence(self, operation: WriteOperation[Any] | Message, author: Author = THE_DAEMON) -> Sequenced:
        """Sequence a write and leave it waiting. What must be read before is read as the daemon does it."""
        if not isinstance(operation, WriteOperation):
            operation = operation_of(operation)
        for _ in range(20):
            if operation.prepares:
                self.apply()
                self.prepare(operation)
            with suppress(Stale):
                return self.sequence_prepared(operation, author)
        raise AssertionError("the write is stale whenever it was prepared")

    def sequence_prepared(self, operation: WriteOperation[Any], author: Author = THE_DAEMON) -> Sequenced:
        """Sequence a write that needs no preparation, or has had it, and leave it waiting. Raises Stale."""
        pinned: Sequence[bytes] = ()
        try:
            for _ in range(5):
                result = self.sequencer.sequence(operation, author, self.now)
                if isinstance(result, Sequenced):
                    self.waiting.append(result)
                    return result
                self.facts.pin(result)
                self.facts.unpin(pinned)
                pinned = result
                self.learn(result)
        finally:
            self.facts.unpin(pinned)
        raise AssertionError("the write asks for rows without end")

    def prepare(self, operation: WriteOperation[Any]) -> None:
        finish(operation.prepare(self.view()), self.engine)

    def learn(self, keys: Sequence[bytes]) -> None:
        """Fetch the facts that are not at hand from applied state."""
        unknown = [key for key in dict.fromkeys(keys) if not self.facts.knows(key)]
        self.facts.learn(finish(facts.load(unknown), self.engine))

    def run(self, operation: WriteOperation[Any]) -> bool:
        """Carry out one of the daemon's own writes; False when it found nothing to do."""
        self.apply()
        if operation.prepares:
            self.prepare(operation)
        if operation.idle:
            return False
        self.sequence_prepared(operation)
        self.apply()
        return True

    def apply(self, count: int | None = None) -> None:
        """Make the first `count` waiting commits durable and visible, or all; together, as the daemon does."""
        count = len(self.waiting) if count is None else count
        items = [self.waiting.popleft() for _ in range(count)]
        if not items:
            return
        self.journal += [item.payload for item in items]
        apply_commits(self.engine, [(item.seq, item.commit) for item in items])
        for item in items:
            self.sequencer.applied(item.seq, item.commit, item.changed)
            self.sessions.apply(item.seq, item.commit)

    def roll_back(self) -> None:
        """The journal had no room: what waits is taken back."""
        self.waiting.clear()
        self.sequencer.roll_back(len(self.journal))

    # -- crashes ------------------------------------------------------------------------------------------------------

    def checkpoint(self) -> None:
        """Make what is applied durable, the sessions with it."""
        self.flush(sessions=True)

    def flush(self, *, sessions: bool) -> None:
        """Make what is applied durable; RocksDB may do so at any time, without the sessions."""
        if sessions:
            seq = self.engine.applied_seq
            rows = self.sessions.checkpoint()
            self.engine.write([*rows, (PUT, Family.META, SESSIONS_KEY, pack_number(seq))], seq)
        self._durable = self.engine.copy()

    def crash(self) -> None:
        """Lose what waits and what is in memory; come up from the last checkpoint and the journal."""
        self.waiting.clear()
        self.engine = self._durable.copy()
        journal = cast("Journal", ListJournal(self.journal))
        recovered = recover(cast("Engine", self.engine), journal, self._policy, lambda done, of: None)
        self.sessions = recovered.sessions
        self._begin(recovered.policies)

    def replay(self, engine: MemoryEngine, start: int = 0, to: int | None = None, batch: int = 1) -> MemoryEngine:
        """Apply the journal's commits from behind `start` up to `to` on top of an engine, `batch` at a time."""
        decoded = [(seq, commits.decode(payload)) for seq, payload in enumerate(self.journal[:to], start=1)][start:]
        for first in range(0, len(decoded), batch):
            apply_commits(engine, decoded[first : first + batch])
        return engine

    def check_replay(self, start: int | None = None) -> None:
        """The journal alone gives the same rows, byte for byte, and its end applied once more changes nothing."""
        self.apply()
        start = len(self.journal) // 2 if start is None else start
        rows = records(self.engine)
        assert records(self.replay(MemoryEngine())) == rows
        assert records(self.replay(MemoryEngine(), batch=1_000_000)) == rows
        assert records(self.replay(self.engine.copy(), start, batch=7)) == rows


class ListJournal:
    """As much of a journal as recovery needs, in batches of three."""

    def __init__(self, payloads: Sequence[bytes]) -> None:
        self._payloads = payloads
        self.last_seq = len(payloads)

    def read(self, from_seq: int) -> Iterator[Batch]:
        for first in range((from_seq - 1) // 3 * 3, self.last_seq, 3):
            entries = tuple(self._payloads[first : first + 3])
            yield Batch(1, first + 1, commits.decode(entries[-1]).time, first, entries)
