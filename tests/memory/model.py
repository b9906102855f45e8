"""What the store promises, once more, in plain dictionaries and lists; written from the documents, not from the code.

A model is a value: `after` returns another one. Nothing here knows rows, events or caches.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Raw

from recollectd.protocol import errors
from recollectd.protocol.messages import connection, conversations, logs, state, transactions
from recollectd.protocol.messages.fields import Kind, Write

Namespace = tuple[str, ...]
Name = tuple[Namespace, str]

DAY: Final = 86_400 * 1_000_000


@dataclass
class Version:
    """value: None from which the record is absent."""

    value: Raw | None
    created_at: int
    updated_at: int
    expires_at: int | None


@dataclass
class StateRecord:
    versions: dict[int, Version] = field(default_factory=dict)  # those kept, contiguous
    expires_at: int | None = None
    ttl_us: int | None = None
    sliding: bool = False
    revision: int = 0

    @property
    def newest(self) -> int:
        return max(self.versions)

    def alive(self, time: int) -> bool:
        gone = self.versions[self.newest].value is None
        return not gone and (self.expires_at is None or time < self.expires_at)


@dataclass
class Log:
    first: int
    next: int
    created_at: int
    updated_at: int
    revision: int
    items: dict[int, tuple[int, Raw]] = field(default_factory=dict)


@dataclass
class Conversation:
    created_at: int
    updated_at: int
    revision: int
    metadata: Raw | None
    messages: list[conversations.Message] = field(default_factory=list)


class Refused(Exception):
    """Carries the class of the error that the store must answer with."""

    def __init__(self, error: type[errors.RecollectdError]) -> None:
        self.error = error


@dataclass
class Policies:
    """Count and age by namespace; the longest configured prefix decides."""

    default: tuple[int, int]
    configured: dict[Namespace, tuple[int, int]] = field(default_factory=dict)

    def of(self, ns: Namespace) -> tuple[int, int]:
        for end in range(len(ns), 0, -1):
            if ns[:end] in self.configured:
                return self.configured[ns[:end]]
        return self.default


@dataclass
class Model:
    """The store after one commit: `seq`, at journal time `time`."""

    policies: Policies
    seq: int = 0
    time: int = 0
    states: dict[Name, StateRecord] = field(default_factory=dict)
    logs: dict[Name, Log] = field(default_factory=dict)
    conversations: dict[Name, Conversation] = field(default_factory=dict)
    changed: dict[tuple[int, Namespace], int] = field(default_factory=dict)

    def after(self, request: Any, time: int, policies: Policies, given: Iterator[str]) -> tuple[Model, Any]:
        """Return the model behind a commit and the reply, or the error's class.

        policies: those in force; given: the ids that the store drew, in order; none where it refused.
        """
        following = deepcopy(self)
        following.seq, following.time = self.seq + 1, max(self.time, time)
        try:
            return following, Change(following, policies, given).of(request)
        except Refused as refused:
            unchanged = deepcopy(self)
            unchanged.seq, unchanged.time = following.seq, following.time
            return unchanged, refused.error

    def revision(self, kind: int, name: Name, time: int) -> int:
        """Return what a guard on the record must say."""
        if kind == Kind.STATE:
            record = self.states.get(name)
            return record.revision if record is not None and record.alive(time) else 0
        found = (self.logs if kind == Kind.LOG else self.conversations).get(name)
        return 0 if found is None else found.revision

    def holds(self, guard: transactions.Guard, time: int) -> bool:
        """Return whether what was read is still so."""
        if isinstance(guard, transactions.RecordGuard):
            return self.revision(guard.kind, (guard.namespace, guard.key), time) == guard.revision
        return self.changed.get((guard.kind, guard.namespace), 0) <= guard.position and time < guard.valid_until


class Change:
    """One request carried out on a model."""

    def __init__(self, model: Model, policies: Policies, given: Iterator[str]) -> None:
        self.model = model
        self.seq, self.time = model.seq, model.time
        self.policies = policies
        self.given = given

    def of(self, request: Any) -> Any:
        """Carry out; raises Refused."""
        return getattr(self, f"_{type(request).__name__}")(request)

    def _note(self, kind: Kind, ns: Namespace) -> None:
        self.model.changed[int(kind), ns] = self.seq

    # -- state --------------------------------------------------------------------------------------------------------

    def add_version(self, name: Name, version: Version) -> StateRecord:
        """Add a version and drop those past the count."""
        record = self.model.states.setdefault(name, StateRecord())
        number = record.newest + 1 if record.versions else 1
        record.versions[number] = version
        count, _ = self.policies.of(name[0])
        record.versions = {each: kept for each, kept in record.versions.items() if not count or each > number - count}
        record.expires_at, record.ttl_us, record.sliding = version.expires_at, None, False
        record.revision = self.seq
        self._note(Kind.STATE, name[0])
        return record

    def settled(self, name: Name) -> StateRecord | None:
        """Return the record, an expiry that has come made its newest version."""
        record = self.model.states.get(name)
        if record is not None and record.expires_at is not None and record.expires_at <= self.time:
            created_at = record.versions[record.newest].created_at
            self.add_version(name, Version(None, created_at, record.expires_at, None))
        return record

    def living(self, name: Name) -> StateRecord | None:
        """Return the record if it is there."""
        record = self.settled(name)
        return record if record is not None and record.alive(self.time) else None

    def _check_version(self, name: Name, if_version: int | None) -> None:
        record = self.model.states.get(name)
        version = record.newest if record is not None and record.alive(self.time) else 0
        if if_version is not None and version != if_version:
            raise Refused(errors.VersionConflict)

    def _put(self, name: Name, value: Raw, ttl_us: int | None, sliding: bool) -> state.StateStored:
        before = self.living(name)
        created_at = self.time if before is None else before.versions[before.newest].created_at
        expires_at = None if ttl_us is None else self.time + ttl_us
        record = self.add_version(name, Version(value, created_at, self.time, expires_at))
        record.ttl_us, record.sliding = ttl_us, sliding
        return state.StateStored(record.newest, created_at, self.time, expires_at)

    def _StatePut(self, request: state.StatePut) -> state.StateStored:
        name = (request.namespace, request.key)
        self._check_version(name, 0 if request.if_absent else request.if_version)
        return self._put(name, request.value, request.ttl_us, request.sliding)

    def _StatePutMany(self, request: state.StatePutMany) -> state.StateStoredMany:
        stored = [
            self._put((request.namespace, item.key), item.value, request.ttl_us, request.sliding)
            for item in request.items
        ]
        return state.StateStoredMany(tuple(stored))

    def remove(self, name: Name) -> bool:
        """Delete a record; False where there is none."""
        record = self.living(name)
        if record is None:
            return False
        created_at = record.versions[record.newest].created_at
        self.add_version(name, Version(None, created_at, self.time, None))
        return True

    def _StateDelete(self, request: state.StateDelete) -> connection.Deleted:
        name = (request.namespace, request.key)
        self._check_version(name, request.if_version)
        return connection.Deleted(int(self.remove(name)))

    def _StateDeletePrefix(self, request: state.StateDeletePrefix) -> connection.Deleted:
        names = [(ns, key) for ns, key in self.model.states if ns == request.namespace]
        return connection.Deleted(sum(self.remove(name) for name in names if name[1].startswith(request.prefix)))

    def _StateTouch(self, request: state.StateTouch) -> state.StateTouched:
        record = self.living((request.namespace, request.key))
        if record is None:
            raise Refused(errors.NotFound)
        record.ttl_us = request.ttl_us
        record.expires_at = None if request.ttl_us is None else self.time + request.ttl_us
        record.sliding = record.sliding and request.ttl_us is not None
        record.revision = self.seq
        self._note(Kind.STATE, request.namespace)
        return state.StateTouched(record.newest, record.expires_at)

    def _NamespaceConfigure(self, request: connection.NamespaceConfigure) -> connection.Done:
        policy = (request.history_count or 0, request.history_age_us or 0)
        self.model.policies.configured[request.namespace] = policy
        return connection.Done()

    # -- logs ---------------------------------------------------------------------------------------------------------

    def _LogAppend(self, request: logs.LogAppend) -> logs.LogAppended:
        name = (request.namespace, request.log_id)
        log = self.model.logs.get(name) or Log(0, 0, self.time, self.time, self.seq)
        if request.if_next is not None and request.if_next != log.next:
            raise Refused(errors.VersionConflict)
        self.model.logs[name] = log
        first = log.next
        for item in request.items:
            log.items[log.next] = (self.time, item)
            log.next += 1
        self._altered(name, log)
        return logs.LogAppended(first, log.next, self.time)

    def _altered(self, name: Name, log: Log) -> None:
        log.updated_at, log.revision = self.time, self.seq
        self._note(Kind.LOG, name[0])

    def _log(self, name: Name) -> Log:
        log = self.model.logs.get(name)
        if log is None:
            raise Refused(errors.NotFound)
        return log

    def _LogTruncate(self, request: logs.LogTruncate) -> logs.LogInfo:
        name = (request.namespace, request.log_id)
        log = self._log(name)
        before = dict(log.items)
        log.items = {
            position: item
            for position, item in log.items.items()
            if (request.before is None or position >= request.before)
            and (request.after is None or position < request.after)
        }
        if log.items != before:
            if request.before is not None:
                log.first = max(log.first, min(request.before, log.next))
            if request.after is not None:
                log.next = max(log.first, min(log.next, request.after))
            self._altered(name, log)
        return log_info(name, log)

    def _LogPopLast(self, request: logs.LogPopLast) -> logs.LogPage:
        name = (request.namespace, request.log_id)
        log = self.model.logs.get(name)
        if log is None:
            return logs.LogPage((), 0, 0, 0)
        positions = sorted(log.items)[-request.count :]
        items = tuple(logs.LogItem(position, *log.items.pop(position)) for position in positions)
        if items:
            log.next = positions[0]
            self._altered(name, log)
        return logs.LogPage(items, log.first, log.next, log.revision)

    def _LogCopy(self, request: logs.LogCopy) -> logs.LogInfo:
        if request.namespace[:1] != request.target_namespace[:1]:
            raise Refused(errors.CrossShard)
        source, name = self._log((request.namespace, request.log_id)), (request.target_namespace, request.target_id)
        if name in self.model.logs:
            raise Refused(errors.AlreadyExists)
        log = Log(source.first, source.next, self.time, self.time, self.seq, dict(source.items))
        self.model.logs[name] = log
        self._note(Kind.LOG, name[0])
        return log_info(name, log)

    def _LogDelete(self, request: logs.LogDelete) -> connection.Deleted:
        log = self.model.logs.pop((request.namespace, request.log_id), None)
        if log is not None:
            self._note(Kind.LOG, request.namespace)
        return connection.Deleted(int(log is not None))

    # -- conversations ------------------------------------------------------------------------------------------------

    def _ConversationCreate(self, request: conversations.ConversationCreate) -> conversations.ConversationCreated:
        wanted = request.conversation_id
        if wanted is not None and (request.namespace, wanted) in self.model.conversations:
            raise Refused(errors.AlreadyExists)
        conversation_id = next(self.given, "") if wanted is None else wanted
        made = Conversation(self.time, self.time, self.seq, request.metadata)
        self.model.conversations[request.namespace, conversation_id] = made
        self._note(Kind.CONVERSATION, request.namespace)
        return conversations.ConversationCreated(conversation_id, self.time)

    def _ConversationAppend(self, request: conversations.ConversationAppend) -> conversations.MessagesStored:
        found = self.model.conversations.get((request.namespace, request.conversation_id))
        if found is None:
            raise Refused(errors.NotFound)
        stored: list[conversations.MessageStored] = []
        known = {each.message_id: each for each in found.messages}
        new: list[conversations.Message] = []
        for each in request.messages:
            first = None if each.message_id is None else known.get(each.message_id)
            if first is not None:
                if not request.skip_duplicates:
                    raise Refused(errors.AlreadyExists)
                stored.append(
                    conversations.MessageStored(
                        first.message_id, each.role, first.timestamp, first.position, duplicate=True
                    )
                )
                continue
            position = len(found.messages) + len(new)
            message = conversations.Message(
                each.message_id or "", each.role, each.content, self.time, position, each.valid_at, each.metadata
            )
            new.append(message)
            if each.message_id is not None:
                known[each.message_id] = message
            stored.append(conversations.MessageStored(each.message_id or "", each.role, self.time, position))
        self._name_messages(new, stored)
        if new:
            found.messages += new
            found.updated_at, found.revision = self.time, self.seq
            self._note(Kind.CONVERSATION, request.namespace)
        return conversations.MessagesStored(request.conversation_id, tuple(stored))

    def _name_messages(self, new: list[conversations.Message], stored: list[conversations.MessageStored]) -> None:
        """Give those without an id the one the store drew."""
        for index, each in enumerate(stored):
            if not each.message_id:
                message_id = next(self.given, "refused later")
                at = next(place for place, message in enumerate(new) if message.position == each.position)
                new[at] = _replaced(new[at], message_id)
                stored[index] = _replaced(each, message_id)

    def _ConversationDelete(self, request: conversations.ConversationDelete) -> connection.Deleted:
        found = self.model.conversations.pop((request.namespace, request.conversation_id), None)
        if found is not None:
            self._note(Kind.CONVERSATION, request.namespace)
        return connection.Deleted(int(found is not None))

    # -- several ------------------------------------------------------------------------------------------------------

    def _one_shard(self, namespaces: list[Namespace]) -> None:
        if len({ns[:1] for ns in namespaces}) > 1:
            raise Refused(errors.CrossShard)

    def _Transaction(self, request: transactions.Transaction) -> list[Any]:
        self._one_shard([each.namespace for each in (*request.guards, *request.operations)])
        if not all(self.model.holds(guard, self.time) for guard in request.guards):
            raise Refused(errors.TransactionConflict)
        return [self.of(operation) for operation in request.operations]

    def _Batch(self, request: transactions.Batch) -> list[Any]:
        self._one_shard([each.namespace for each in request.operations])
        return [self._apart(operation) for operation in request.operations]

    def _apart(self, operation: Write) -> Any:
        before = deepcopy(self.model)
        try:
            return self.of(operation)
        except Refused as refused:
            self.model.__dict__.update(before.__dict__)
            return refused.error


def _replaced(structure: Any, message_id: str) -> Any:
    fields = {name: getattr(structure, name) for name in structure.__struct_fields__}
    return type(structure)(**(fields | {"message_id": message_id}))


def log_info(name: Name, log: Log) -> logs.LogInfo:
    return logs.LogInfo(name[1], log.first, log.next, log.created_at, log.updated_at, log.revision)
