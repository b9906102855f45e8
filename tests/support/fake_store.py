"""A store in dicts that answers the protocol's requests, and the client's face to it: no daemon, no socket.

It knows as much as commands and transfers need. Tests may make it fail at a chosen write.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from msgspec import Raw

from recollectd.protocol import errors
from recollectd.protocol.messages import (
    connection,
    conversations,
    erasing,
    logs,
    memories,
    search_settings,
    state,
    transactions,
    vector_spaces,
)
from recollectd.protocol.messages.fields import NIL, Message, Write

T = TypeVar("T")
Id = tuple[tuple[str, ...], str]

TIME_US: Final = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
SECOND_US: Final = 1_000_000
PAGE: Final = 7
"""Pages are this short, so that every walk has several."""


@dataclass
class Log:
    """Items from position `first` on."""

    first: int = 0
    items: list[logs.LogItem] = field(default_factory=list)
    created_at: int = 0

    @property
    def next(self) -> int:
        return self.first + len(self.items)


@dataclass
class Talk:
    """A conversation."""

    created_at: int
    used_at: int
    metadata: Raw | None
    messages: list[conversations.Message] = field(default_factory=list)


def _on_disk(namespace: tuple[str, ...]) -> list[tuple[int, str]]:
    """Order namespaces as keys with length-prefixed labels do, which is not the order of the labels."""
    return [(len(label), label) for label in namespace]


class FakeStore:
    """The records. writes: how many were asked for; fail_at: the number of the write that fails, with `error`."""

    def __init__(self) -> None:
        self.states: dict[Id, list[state.StateVersion]] = {}
        self.logs: dict[Id, Log] = {}
        self.talks: dict[Id, Talk] = {}
        self.requests: list[Message] = []
        self.writes = 0
        self.fail_at = 0
        self.erased = 0
        self.error: errors.RecollectdError = errors.ConnectionLost()
        self.now = TIME_US

    def answer(self, request: Message) -> Any:
        """Carry out a request. Raises what the daemon would answer."""
        self.requests.append(request)
        self.now += SECOND_US
        if isinstance(request, Write):
            self.writes += 1
            if self.writes == self.fail_at:
                raise self.error
        answer: Callable[[Any], Any] = getattr(self, f"_{type(request).__name__}")
        return answer(request)

    # -- the daemon -------------------------------------------------------------------------------------------------

    def _Ping(self, request: connection.Ping) -> connection.Pong:
        return connection.Pong(self.now)

    def _StatusRequest(self, request: connection.StatusRequest) -> connection.Status:
        daemon = {"version": "9.9", "uptime_s": 1.5, "commits": 1_234_567, "pid": 12_345, "journal_bytes": 64 << 20}
        return connection.Status({"daemon": daemon, "empty": {}})

    def _Erase(self, request: erasing.Erase) -> erasing.ErasureState:
        """Needs three looks; fails if the store is made to."""
        self.erased += 1
        failure = "no room" if self.fail_at else ""
        return erasing.ErasureState(9, 9 if self.erased >= 3 and not failure else 0, True, failure)

    def _SpaceList(self, request: vector_spaces.SpaceList) -> vector_spaces.Spaces:
        return vector_spaces.Spaces(())

    def _SearchSettingsGet(self, request: search_settings.SearchSettingsGet) -> search_settings.SearchSettings:
        return search_settings.SearchSettings("english", True, True, False, False)

    def _MemoryList(self, request: memories.MemoryList) -> memories.MemoryPage:
        return memories.MemoryPage((), b"", 0)

    def _NamespaceList(self, request: connection.NamespaceList) -> connection.NamespacePage:
        known = {namespace for kind in (self.states, self.logs, self.talks) for namespace, _ in kind}
        length = len(request.prefix)
        found = [namespace for namespace in sorted(known, key=_on_disk) if namespace[:length] == request.prefix]
        return connection.NamespacePage(tuple(found), b"")

    # -- state ------------------------------------------------------------------------------------------------------

    def _head(self, id_: Id) -> state.StateVersion | None:
        versions = self.states.get(id_)
        return versions[-1] if versions and not versions[-1].deleted else None

    def _record(self, id_: Id) -> state.StateRecord | None:
        head = self._head(id_)
        if head is None:
            return None
        assert head.value is not None
        return state.StateRecord(id_[1], head.value, head.version, TIME_US, head.updated_at, head.expires_at, 1)

    def _StatePut(self, request: state.StatePut) -> state.StateStored:
        id_ = (request.namespace, request.key)
        head = self._head(id_)
        version = head.version if head else 0
        if (request.if_absent and head) or request.if_version not in (None, version):
            raise errors.VersionConflict(f"{request.key} is at version {version}")
        expires_at = None if request.ttl_us is None else self.now + request.ttl_us
        versions = self.states.setdefault(id_, [])
        versions.append(state.StateVersion(len(versions) + 1, request.value, self.now, expires_at, False))
        return state.StateStored(len(versions), TIME_US, self.now, expires_at)

    def _StatePutMany(self, request: state.StatePutMany) -> state.StateStoredMany:
        puts = [state.StatePut(request.namespace, item.key, item.value) for item in request.items]
        return state.StateStoredMany(tuple(self._StatePut(put) for put in puts))

    def _StateGet(self, request: state.StateGet) -> state.StateRecord | state.Absent:
        return self._record((request.namespace, request.key)) or state.Absent()

    def _StateGetMany(self, request: state.StateGetMany) -> state.StateRecords:
        return state.StateRecords(tuple(self._record((request.namespace, key)) for key in request.keys[:PAGE]))

    def _StateGetValues(self, request: state.StateGetValues) -> state.StateValues:
        found = [self._record((request.namespace, key)) for key in request.keys[:PAGE]]
        absent = tuple(index for index, record in enumerate(found) if record is None)
        return state.StateValues(tuple(NIL if record is None else record.value for record in found), absent)

    def _StateDelete(self, request: state.StateDelete) -> connection.Deleted:
        id_ = (request.namespace, request.key)
        head = self._head(id_)
        if head is None:
            return connection.Deleted(0)
        self.states[id_].append(state.StateVersion(head.version + 1, None, self.now, None, True))
        return connection.Deleted(1)

    def _StateHistory(self, request: state.StateHistory) -> state.StateVersions:
        versions = self.states.get((request.namespace, request.key), [])
        return state.StateVersions(tuple(reversed(versions))[: request.limit], 0, 1)

    def _StateTouch(self, request: state.StateTouch) -> state.StateTouched:
        head = self._head((request.namespace, request.key))
        if head is None:
            raise errors.NotFound(f"there is no record {request.key}", field="key")
        return state.StateTouched(head.version, self.now + (request.ttl_us or 0))

    def _keys(self, namespace: tuple[str, ...], prefix: str, pattern: str) -> list[str]:
        keys = (key for where, key in self.states if where == namespace and self._head((where, key)))
        wanted = (key for key in keys if key.startswith(prefix) and fnmatch.fnmatchcase(key, pattern or "*"))
        return sorted(wanted, key=str.encode)

    def _StateScan(self, request: state.StateScan) -> state.StatePage:
        keys = self._keys(request.namespace, request.prefix, request.pattern)
        if request.reverse:
            keys.reverse()
        start = int(request.cursor or b"0")
        end = start + min(request.limit, PAGE)
        records = (self._record((request.namespace, key)) for key in keys[start:end])
        cursor = str(end).encode() if end < len(keys) else b""
        return state.StatePage(tuple(record for record in records if record), cursor, 0)

    def _StateCount(self, request: state.StateCount) -> connection.Counted:
        return connection.Counted(len(self._keys(request.namespace, request.prefix, request.pattern)), b"")

    def _StateDeletePrefix(self, request: state.StateDeletePrefix) -> connection.Deleted:
        keys = self._keys(request.namespace, request.prefix, "")
        for key in keys:
            self._StateDelete(state.StateDelete(request.namespace, key))
        return connection.Deleted(len(keys))

    # -- logs -------------------------------------------------------------------------------------------------------

    def _LogAppend(self, request: logs.LogAppend) -> logs.LogAppended:
        log = self.logs.setdefault((request.namespace, request.log_id), Log(created_at=self.now))
        first = log.next
        if request.if_next not in (None, first):
            raise errors.VersionConflict(f"the next position is {first}")
        log.items += [logs.LogItem(position, self.now, item) for position, item in enumerate(request.items, first)]
        return logs.LogAppended(first, log.next, self.now)

    def _LogRead(self, request: logs.LogRead) -> logs.LogPage:
        log = self.logs.get((request.namespace, request.log_id), Log())
        items = [item for item in log.items if item.position >= (request.start or 0)]
        if request.last is not None:
            items = items[-request.last :]
        return logs.LogPage(tuple(items[: min(request.limit, PAGE)]), log.first, log.next, 1)

    def _LogTruncate(self, request: logs.LogTruncate) -> logs.LogInfo:
        log = self.logs[request.namespace, request.log_id]
        if request.before is not None:
            dropped = max(request.before - log.first, 0)
            log.first, log.items = log.first + dropped, log.items[dropped:]
        return self._log_info(request.log_id, log)

    def _LogDelete(self, request: logs.LogDelete) -> connection.Deleted:
        return connection.Deleted(int(self.logs.pop((request.namespace, request.log_id), None) is not None))

    def _log_info(self, log_id: str, log: Log) -> logs.LogInfo:
        return logs.LogInfo(log_id, log.first, log.next, log.created_at, self.now, 1)

    def _LogHead(self, request: logs.LogHead) -> logs.LogInfo | state.Absent:
        log = self.logs.get((request.namespace, request.log_id))
        return self._log_info(request.log_id, log) if log else state.Absent()

    def _LogList(self, request: logs.LogList) -> logs.LogInfos:
        found = [
            self._log_info(log_id, log)
            for (namespace, log_id), log in sorted(self.logs.items())
            if namespace == request.namespace and log_id.startswith(request.prefix)
        ]
        return logs.LogInfos(tuple(found), b"")

    # -- conversations ----------------------------------------------------------------------------------------------

    def _talk(self, namespace: tuple[str, ...], conversation_id: str) -> Talk:
        talk = self.talks.get((namespace, conversation_id))
        if talk is None:
            raise errors.NotFound(f"there is no conversation {conversation_id}", field="conversation_id")
        return talk

    def _ConversationCreate(self, request: conversations.ConversationCreate) -> conversations.ConversationCreated:
        conversation_id = request.conversation_id or f"c-{len(self.talks) + 1}"
        if (request.namespace, conversation_id) in self.talks:
            raise errors.AlreadyExists(f"conversation {conversation_id} exists", field="conversation_id")
        self.talks[request.namespace, conversation_id] = Talk(self.now, self.now, request.metadata)
        return conversations.ConversationCreated(conversation_id, self.now)

    def _ConversationAppend(self, request: conversations.ConversationAppend) -> conversations.MessagesStored:
        talk = self._talk(request.namespace, request.conversation_id)
        talk.used_at = self.now
        known = {message.message_id for message in talk.messages}
        stored = []
        for new in request.messages:
            message_id = new.message_id or f"m-{len(talk.messages) + 1}"
            duplicate = message_id in known
            if duplicate and not request.skip_duplicates:
                raise errors.AlreadyExists(f"message {message_id} exists", field="message_id")
            if not duplicate:
                position = len(talk.messages)
                message = conversations.Message(
                    message_id, new.role, new.content, self.now, position, new.valid_at, new.metadata
                )
                talk.messages.append(message)
                known.add(message_id)
            stored.append(conversations.MessageStored(message_id, new.role, self.now, len(talk.messages), duplicate))
        return conversations.MessagesStored(request.conversation_id, tuple(stored))

    def _ConversationHistory(self, request: conversations.ConversationHistory) -> conversations.History:
        talk = self._talk(request.namespace, request.conversation_id)
        found = [message for message in talk.messages if request.after is None or message.position > request.after]
        found = found[-request.last :] if request.last else found[: min(PAGE, request.limit)]
        return conversations.History(request.conversation_id, tuple(found), len(talk.messages), 1)

    def _info(self, conversation_id: str, talk: Talk) -> conversations.ConversationInfo:
        size = len(talk.messages)
        return conversations.ConversationInfo(conversation_id, talk.created_at, talk.used_at, size, talk.metadata, 1)

    def _ConversationHead(
        self, request: conversations.ConversationHead
    ) -> conversations.ConversationInfo | state.Absent:
        talk = self.talks.get((request.namespace, request.conversation_id))
        return self._info(request.conversation_id, talk) if talk else state.Absent()

    def _ConversationList(self, request: conversations.ConversationList) -> conversations.ConversationPage:
        found = [
            self._info(conversation_id, talk)
            for (namespace, conversation_id), talk in self.talks.items()
            if namespace == request.namespace
        ]
        found.sort(key=lambda info: info.last_used_at, reverse=True)
        return conversations.ConversationPage(tuple(found), b"")

    def _ConversationDelete(self, request: conversations.ConversationDelete) -> connection.Deleted:
        return connection.Deleted(int(self.talks.pop((request.namespace, request.conversation_id), None) is not None))

    # -- several at once --------------------------------------------------------------------------------------------

    def _Batch(self, request: transactions.Batch) -> transactions.Results:
        results: list[Any] = []
        for operation in request.operations:
            try:
                results.append(self.answer(operation))
            except errors.ConnectionLost:
                raise
            except errors.RecollectdError as error:
                results.append(connection.ErrorReply(error.code, error.message, error.field))
        return transactions.Results(tuple(results))
