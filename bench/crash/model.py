"""What the daemon promises, as the plainest program that keeps it: dictionaries, one write after the other.

The model is told each write in the order of the journal, with the reply that the daemon gave, and says whether that is
the reply it should have been: `Model.play`. It shares the message declarations with the daemon and nothing else.

Journal time is known exactly for a commit whose reply tells it. For others it lies between its neighbours'; then the
model tries every moment between them that could make a difference, and takes the first that explains the reply.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from bench.crash import (
    conversation_model,
    log_model,
    memory_model,
    message_vector_model,
    space_model,
    state_model,
)
from bench.crash.records import Context, Key, Operations, Record, Refused, Span, State, commit, difference
from recollectd.protocol import errors
from recollectd.protocol.messages import conversations, logs, memories, state, transactions
from recollectd.protocol.messages.connection import Done, ErrorReply, NamespaceConfigure
from recollectd.protocol.messages.fields import Message, Reply

_PERFORM: Final[Operations] = {
    **state_model.OPERATIONS,
    **log_model.OPERATIONS,
    **conversation_model.OPERATIONS,
    **message_vector_model.OPERATIONS,
    **memory_model.OPERATIONS,
    **space_model.OPERATIONS,
}


class Mismatch(AssertionError):
    """The daemon did something it promised not to do."""


class Played(NamedTuple):
    """One write as the journal has it: its sequence number, the message and the daemon's reply. story: for people."""

    seq: int
    message: Message
    reply: Reply
    story: str = ""


class Model:
    """The whole store as it should be. history_count: the option in force (0: unlimited)."""

    def __init__(self, history_count: int = 0) -> None:
        self.history_count = history_count
        self.records: dict[Key, Record] = {}
        self.seq = 0
        self.time = 0  # the latest that is known
        self.timeline: dict[Key, list[tuple[int, Record | None]]] = defaultdict(list)
        self._last = ""
        self._policies: dict[tuple[str, ...], int] = {}
        self._changed: dict[tuple[int, tuple[str, ...]], int] = {}
        self._places: dict[bytes, str] = {}

    def play(self, played: Played, time_max: int) -> None:
        """Apply one write; time_max: when the next commit whose time is known was. Raises Mismatch."""
        seq, message, reply, story = played
        if seq <= self.seq:
            raise Mismatch(
                f"position {seq} of the journal was given twice, the last being {self.seq}:\n"
                f"  {self._last}\n  {story or played!r:.600}"
            )
        exact = time_in(message, reply, seq)
        if exact is not None and not self.time <= exact <= time_max:
            raise Mismatch(f"the time {exact} at {seq} is not between its neighbours' {self.time} and {time_max}")
        reasons: dict[str, None] = {}
        for time in (exact,) if exact is not None else self._moments(time_max):
            stamp = Span(self.time, time_max) if exact is None else exact
            context = Context(self.records, seq, time, stamp, self._history_count, dict(self._places), self._changed)
            expected = self._perform(context, message, reply)
            reason = difference(expected, reply)
            if not reason:
                self._keep(context)
                self._last = story or f"{played!r:.600}"
                self.time = max(self.time, time)
                return
            reasons[reason] = None
        raise Mismatch(
            f"position {seq}: {story or message!r:.600}\n  was answered {reply!r:.600}\n  {'; '.join(reasons)}"
        )

    def changed_after(self, key: Key, position: int) -> bool:
        """Return whether a record changed behind a position."""
        return any(seq > position for seq, _ in self.timeline.get(key, ()))

    def _moments(self, time_max: int) -> Iterator[int]:
        yield self.time
        ends = {record.expires_at for record in self.records.values() if isinstance(record, State)}
        yield from sorted(end for end in ends if end is not None and self.time < end <= time_max)

    def _history_count(self, namespace: tuple[str, ...]) -> int:
        for length in range(len(namespace), 0, -1):
            if namespace[:length] in self._policies:
                return self._policies[namespace[:length]]
        return self.history_count

    def _keep(self, context: Context) -> None:
        commit(self.records, context.changes)
        for key, record in context.changes.items():
            self.timeline[key].append((context.seq, record))
            self._changed[key[:2]] = context.seq
        self._places = context.places
        self.seq = context.seq

    # What a message does.

    def _perform(self, context: Context, message: Message, reply: Reply) -> Reply:
        try:
            if isinstance(message, transactions.Transaction):
                return self._transaction(context, message, reply)
            if isinstance(message, transactions.Batch):
                return _batch(context, message, reply)
            if isinstance(message, NamespaceConfigure):
                self._policies[message.namespace] = message.history_count or 0
                return Done()
            return _PERFORM[type(message)](context, message, reply)
        except Refused as refused:
            context.changes.clear()
            return refused.reply

    def _transaction(self, context: Context, message: transactions.Transaction, reply: Reply) -> Reply:
        conflict = isinstance(reply, ErrorReply) and reply.code == errors.TransactionConflict.row.code
        if not all(self._holds(guard, context.time, conflict) for guard in message.guards):
            raise Refused(errors.TransactionConflict)
        results: list[Any] = []
        for index, (operation, answer) in enumerate(_answers(message, reply)):
            try:
                results.append(_PERFORM[type(operation)](context, operation, answer))
            except Refused as refused:
                raise Refused(refused.error, f"operations[{index}].{refused.field}") from None
        return transactions.Results(tuple(results))

    def _holds(self, guard: transactions.Guard, time: int, conflict: bool) -> bool:
        """Return whether a guard holds; a range guard may fail for less, for the daemon knows ranges roughly."""
        if isinstance(guard, transactions.RecordGuard):
            record = self.records.get((guard.kind, guard.namespace, guard.key))
            return guard.revision == (0 if record is None else record.revision_at(time))
        changed = self._changed.get((guard.kind, guard.namespace), 0)
        return changed <= guard.position and time < guard.valid_until and not conflict


def _batch(context: Context, message: transactions.Batch, reply: Reply) -> Reply:
    results: list[Any] = []
    for index, (operation, answer) in enumerate(_answers(message, reply)):
        part = context.part()
        try:
            results.append(_PERFORM[type(operation)](part, operation, answer))
            context.changes.update(part.changes)
        except Refused as refused:
            results.append(Refused(refused.error, f"operations[{index}].{refused.field}").reply)
    return transactions.Results(tuple(results))


def _answers(
    message: transactions.Transaction | transactions.Batch, reply: Reply
) -> Iterator[tuple[transactions.Operation, object]]:
    """Yield each operation and the daemon's reply to it; a refusal answers none of them."""
    answers = reply.results if isinstance(reply, transactions.Results) else ()
    for index, operation in enumerate(message.operations):
        yield operation, answers[index] if index < len(answers) else None


def time_in(message: Message, reply: object, seq: int) -> int | None:
    """Return the journal time that the reply to a write tells, None if it tells none."""
    match reply:
        case state.StateStored(updated_at=time) | logs.LogAppended(stored_at=time):
            return time
        case state.StateStoredMany(stored=(first, *_)):
            return first.updated_at
        case conversations.ConversationCreated(created_at=time):
            return time
        case memories.MemoriesStored(memories=remembered):
            return next((each.updated_at for each in remembered if not each.duplicate), None)
        case memories.MemoryMarked(superseded_at=int(time)) if isinstance(message, memories.MemorySupersede):
            return time
        case conversations.MessagesStored(messages=stored):
            return next((each.stored_at for each in stored if not each.duplicate), None)
        case logs.LogInfo(updated_at=time, revision=revision) if revision == seq:
            return time
        case state.StateTouched(expires_at=int(end)) if isinstance(message, state.StateTouch) and message.ttl_us:
            return end - message.ttl_us
        case transactions.Results() if isinstance(message, transactions.Transaction | transactions.Batch):
            times = (time_in(operation, answer, seq) for operation, answer in _answers(message, reply))
            return next((time for time in times if time is not None), None)
    return None
