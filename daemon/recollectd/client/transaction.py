"""What a transaction has read, as guards, and what it is going to write; no I/O."""

from __future__ import annotations

from typing import Any, NoReturn, TypeAlias

from recollectd.client.calls import Call, Face, Style
from recollectd.client.collecting import Writes
from recollectd.client.kinds.everything import Everything
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import connection, conversations, logs, memories, state
from recollectd.protocol.messages import transactions as messages
from recollectd.protocol.messages.fields import Kind, Message, Reply

Namespace: TypeAlias = tuple[str, ...]
_FOREVER = limits.TIME_US_MAX


def guarding(request: Message) -> Message:
    """Return what is asked in place of a read, so that the reply says what is to be guarded."""
    if type(request) is state.StateGetValues:
        return state.StateGetMany(request.namespace, request.keys)
    return request


class Recorder:
    """Turns what a transaction does into the one request that commits it.

    A read of one record guards its revision (absent: 0). A read that depends on many guards everything of its kind in
    its namespace, from the earliest such read on. Reading a state key written before gives the pending value; what
    else a pending write would change cannot be read any more.
    """

    def __init__(self) -> None:
        self.writes = Writes()
        self._records: dict[tuple[Kind, Namespace, str], int] = {}
        self._ranges: dict[tuple[Kind, Namespace], messages.RangeGuard] = {}
        self._pending: dict[tuple[Namespace, str], state.StateRecord | state.Absent] = {}
        self._written: set[tuple[Kind, Namespace, str]] = set()
        self._written_kinds: set[tuple[Kind, Namespace]] = set()
        self._spoilt: errors.RecollectdError | None = None

    def before_read(self, request: Message) -> Reply | None:
        """Return the answer to a read if the transaction's own writes give it.

        Raises InvalidArgument where they would change the answer in a way that only the commit can tell.
        """
        match request:
            case state.StateGet(version=None, as_of=None):
                pending = self._pending.get((request.namespace, request.key))
                if pending is not None:
                    return pending
                self._unwritten(Kind.STATE, request.namespace, request.key)
            case state.StateGet() | state.StateHistory():
                self._unwritten(Kind.STATE, request.namespace, request.key)
            case state.StateGetMany():
                for key in request.keys:
                    if (request.namespace, key) not in self._pending:
                        self._unwritten(Kind.STATE, request.namespace, key)
            case state.StateScan() | state.StateCount():
                self._unwritten_kind(Kind.STATE, request.namespace)
            case logs.LogRead() | logs.LogHead():
                self._unwritten(Kind.LOG, request.namespace, request.log_id)
            case logs.LogList():
                self._unwritten_kind(Kind.LOG, request.namespace)
            case conversations.ConversationHistory() | conversations.ConversationHead():
                self._unwritten(Kind.CONVERSATION, request.namespace, request.conversation_id)
            case conversations.ConversationList():
                self._unwritten_kind(Kind.CONVERSATION, request.namespace)
            case memories.MemoryGet():
                for memory_id in request.memory_ids:
                    self._unwritten(Kind.MEMORY, request.namespace, memory_id)
            case memories.MemoryHistory():
                self._unwritten(Kind.MEMORY, request.namespace, request.memory_id)
            case memories.MemoryList() | memories.MemoryCount():
                self._unwritten_kind(Kind.MEMORY, request.namespace)
            case connection.Ping():
                pass
            case _:
                raise errors.InvalidArgument(f"{type(request).__name__} cannot be part of a transaction")
        return None

    def _unwritten(self, kind: Kind, namespace: Namespace, key: str) -> None:
        if (kind, namespace, key) in self._written:
            _unanswerable(f"{kind.name.lower()} {key!r} was")

    def _unwritten_kind(self, kind: Kind, namespace: Namespace) -> None:
        if (kind, namespace) in self._written_kinds:
            _unanswerable(f"records of kind {kind.name.lower()} in this namespace were")

    def after_read(self, request: Message, position: int, reply: Any) -> Reply:
        """Guard what a read saw, and return it, pending values in their places.

        Raises TransactionConflict when the transaction has seen the same record before, at another revision.
        """
        match request:
            case state.StateGet(version=None, as_of=None):
                self._guard(Kind.STATE, request.namespace, request.key, _revision(reply))
            case state.StateGet():
                self._guard_range(Kind.STATE, request.namespace, position, _valid_until(request, reply))
            case state.StateGetMany():
                return self._after_get_many(request, reply)
            case state.StateHistory():
                newest = reply.versions[0].expires_at if reply.versions and request.before_version is None else None
                self._guard_range(Kind.STATE, request.namespace, position, _FOREVER if newest is None else newest)
            case state.StateScan() | state.StateCount():
                self._guard_range(Kind.STATE, request.namespace, position, reply.valid_until)
            case logs.LogRead() | logs.LogHead():
                self._guard(Kind.LOG, request.namespace, request.log_id, _revision(reply))
            case logs.LogList():
                self._guard_range(Kind.LOG, request.namespace, position)
            case conversations.ConversationHistory() | conversations.ConversationHead():
                self._guard(Kind.CONVERSATION, request.namespace, request.conversation_id, _revision(reply))
            case conversations.ConversationList():
                self._guard_range(Kind.CONVERSATION, request.namespace, position)
            case memories.MemoryGet():
                for memory_id, memory in zip(request.memory_ids, reply.memories, strict=False):
                    self._guard(Kind.MEMORY, request.namespace, memory_id, 0 if memory is None else memory.revision)
            case memories.MemoryHistory():
                self._guard_range(Kind.MEMORY, request.namespace, position)
            case memories.MemoryList() | memories.MemoryCount():
                self._guard_range(Kind.MEMORY, request.namespace, position, reply.valid_until)
        answer: Reply = reply
        return answer

    def _after_get_many(self, request: state.StateGetMany, reply: state.StateRecords) -> state.StateRecords:
        records: list[state.StateRecord | None] = []
        for key, record in zip(request.keys, reply.records, strict=False):
            pending = self._pending.get((request.namespace, key))
            if pending is None:
                self._guard(Kind.STATE, request.namespace, key, 0 if record is None else record.revision)
                records.append(record)
            else:
                records.append(pending if isinstance(pending, state.StateRecord) else None)
        return state.StateRecords(tuple(records))

    def after_refusal(self, request: Message, error: errors.RecollectdError) -> None:
        """Guard that a conversation was not there. What any other refusal saw cannot be guarded: no commit after it."""
        absent = isinstance(error, errors.NotFound) and error.field == "conversation_id"
        if absent and isinstance(request, conversations.ConversationHistory):
            self._guard(Kind.CONVERSATION, request.namespace, request.conversation_id, 0)
        else:
            self._spoilt = error

    def _guard(self, kind: Kind, namespace: Namespace, key: str, revision: int) -> None:
        seen = self._records.setdefault((kind, namespace, key), revision)
        if seen != revision:
            self._spoilt = errors.TransactionConflict(f"{kind.name.lower()} {key!r} changed between two reads of it")
            raise self._spoilt

    def _guard_range(self, kind: Kind, namespace: Namespace, position: int, valid_until: int = _FOREVER) -> None:
        seen = self._ranges.get((kind, namespace))
        if seen is not None:
            position, valid_until = min(position, seen.position), min(valid_until, seen.valid_until)
        self._ranges[kind, namespace] = messages.RangeGuard(kind, namespace, position, valid_until)

    def write(self, call: Call[Any]) -> None:
        """Collect a write."""
        self.writes.add(call)
        match call.request:
            case state.StatePut(namespace, key, value):
                self._write_state(namespace, key, state.StateRecord(key, value, 0, 0, 0, None, 0))
            case state.StatePutMany(namespace, items):
                for item in items:
                    self._write_state(namespace, item.key, state.StateRecord(item.key, item.value, 0, 0, 0, None, 0))
            case state.StateDelete(namespace, key):
                self._write_state(namespace, key, state.Absent())
            case state.StateTouch(namespace, key):
                self._write(Kind.STATE, namespace, key)
            case logs.LogAppend() | logs.LogTruncate() | logs.LogDelete() as written:
                self._write(Kind.LOG, written.namespace, written.log_id)
            case conversations.ConversationAppend() | conversations.ConversationDelete() as written:
                self._write(Kind.CONVERSATION, written.namespace, written.conversation_id)
            case conversations.ConversationCreate() as written:
                self._write(Kind.CONVERSATION, written.namespace, written.conversation_id or "")
            case memories.MemoryAdd(namespace, added):
                for memory in added:
                    self._write(Kind.MEMORY, namespace, memory.memory_id or "")
            case memories.MemoryReplace(namespace, memory):
                self._write(Kind.MEMORY, namespace, memory.memory_id or "")
            case memories.MemoryForget() | memories.MemorySupersede() | memories.MemoryDelete() as written:
                self._write(Kind.MEMORY, written.namespace, written.memory_id)

    def _write_state(self, namespace: Namespace, key: str, pending: state.StateRecord | state.Absent) -> None:
        self._pending[namespace, key] = pending
        self._write(Kind.STATE, namespace, key)

    def _write(self, kind: Kind, namespace: Namespace, key: str) -> None:
        self._written.add((kind, namespace, key))
        self._written_kinds.add((kind, namespace))

    def request(self) -> messages.Transaction | None:
        """Return the request that commits, None if nothing was read or written.

        Raises what a read was refused with, when the transaction went on without having seen an answer.
        """
        if self._spoilt is not None:
            raise self._spoilt
        guards = [messages.RecordGuard(*key, revision) for key, revision in self._records.items()]
        if not guards and not self._ranges and not len(self.writes):
            return None
        return messages.Transaction((*guards, *self._ranges.values()), self.writes.operations)


class TransactionBase(Everything[Style]):
    """What the function given to `transact` works with.

    Reads go out at once, and what they saw must still hold at the commit. Writes return None and are collected; after
    the commit `results` has their results in order. A state record written before in the same transaction reads as
    its pending value, with version 0 and times of 1970, since the daemon gives those; whatever else would have to see
    a pending write raises InvalidArgument: read first, then write.
    """

    def __init__(self, face: Face, namespace: tuple[str, ...], recorder: Recorder) -> None:
        super().__init__(face, namespace)
        self._recorder = recorder
        self._results: list[Any] = []

    @property
    def results(self) -> list[Any]:
        """The results of the writes in order, once the transaction is committed."""
        return self._results

    def commit_call(self) -> Call[None] | None:
        """Return the call that commits, None if there is nothing to commit."""
        request = self._recorder.request()
        return None if request is None else Call(request, self._settle)

    def _settle(self, reply: messages.Results) -> None:
        self._results[:] = self._recorder.writes.convert(reply.results)


def _unanswerable(what: str) -> NoReturn:
    raise errors.InvalidArgument(
        f"{what} written in this transaction; what comes of it is known after the commit only: read before you write"
    )


def _revision(reply: Any) -> int:
    if isinstance(reply, state.Absent):
        return 0
    revision: int = reply.revision
    return revision


def _valid_until(request: state.StateGet, reply: state.StateRecord | state.Absent) -> int:
    """Return until when a read of the past holds: a time not yet come can still see the record expire."""
    expires_at = reply.expires_at if isinstance(reply, state.StateRecord) else None
    coming = expires_at is not None and request.as_of is not None and expires_at <= request.as_of
    return expires_at if coming and expires_at is not None else _FOREVER
