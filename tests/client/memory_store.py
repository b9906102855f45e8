"""A store in memory for the fake daemon: as much of each kind of record as the client's tests ask for."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from msgspec import Raw

from client.memory_memories import FakeMemories
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import connection, conversations, erasing, logs, state, vector_spaces
from recollectd.protocol.messages import transactions as multi
from recollectd.protocol.messages.fields import NIL, Kind, Message, Reply

NOW = 1_700_000_000_123_456


class MemoryStore(FakeMemories):
    """Executes requests one at a time; `position` rises with each write, and times with it.

    page_items: the longest page it gives, so that tests see paging.
    """

    def __init__(self) -> None:
        super().__init__()
        self.position = 0
        self.page_items = 1_000_000
        self.records: dict[tuple[tuple[str, ...], str], state.StateRecord] = {}
        self.items: dict[tuple[tuple[str, ...], str], list[logs.LogItem]] = {}
        self.messages: dict[tuple[tuple[str, ...], str], list[conversations.Message]] = {}
        self.message_vectors: dict[tuple[str, int], tuple[str, dict[str, bytes]]] = {}
        self.revisions: dict[tuple[Kind, tuple[str, ...], str], int] = {}

    def execute(self, request: Message) -> Reply:
        """Return the reply; errors as ErrorReply."""
        try:
            reply: Reply = getattr(self, f"_{type(request).__name__}")(request)
        except errors.RecollectdError as error:
            return error_reply(error)
        return reply

    @property
    def time(self) -> int:
        """The time of what is written now."""
        return NOW + self.position * 1_000_000

    def _write(self, kind: Kind, namespace: tuple[str, ...], key: str) -> int:
        self.revisions[kind, namespace, key] = self.position + 1
        return self.position + 1

    def _Ping(self, request: connection.Ping) -> Reply:
        return connection.Pong(NOW)

    def _StatusRequest(self, request: connection.StatusRequest) -> Reply:
        return connection.Status({"namespaces": request.namespaces})

    def _Erase(self, request: erasing.Erase) -> Reply:
        return erasing.ErasureState(self.position + 1, self.position + 1 - request.ask, request.ask)

    def _NamespaceConfigure(self, request: connection.NamespaceConfigure) -> Reply:
        self.position += 1
        return connection.Done()

    def _NamespaceList(self, request: connection.NamespaceList) -> Reply:
        return connection.NamespacePage(tuple(sorted({namespace for namespace, _ in self.records})), b"")

    # State.

    def _StatePut(self, request: state.StatePut) -> Reply:
        old = self.records.get((request.namespace, request.key))
        version = old.version if old else 0
        if request.if_version not in (None, version) or (request.if_absent and old):
            raise errors.VersionConflict(f"at version {version}", field="if_version")
        revision = self._write(Kind.STATE, request.namespace, request.key)
        self.position += 1
        expires_at = None if request.ttl_us is None else self.time + request.ttl_us
        record = state.StateRecord(request.key, request.value, version + 1, self.time, self.time, expires_at, revision)
        self.records[request.namespace, request.key] = record
        return state.StateStored(record.version, record.created_at, record.updated_at, record.expires_at)

    def _StateGet(self, request: state.StateGet) -> Reply:
        return self.records.get((request.namespace, request.key)) or state.Absent()

    def _StateDelete(self, request: state.StateDelete) -> Reply:
        found = self.records.pop((request.namespace, request.key), None)
        if found:
            self._write(Kind.STATE, request.namespace, request.key)
            self.revisions[Kind.STATE, request.namespace, request.key] = 0
        self.position += 1
        return connection.Deleted(1 if found else 0)

    def _StateGetMany(self, request: state.StateGetMany) -> Reply:
        found = tuple(self.records.get((request.namespace, key)) for key in request.keys)
        return state.StateRecords(found[: self.page_items])

    def _StateGetValues(self, request: state.StateGetValues) -> Reply:
        found = [self.records.get((request.namespace, key)) for key in request.keys[: self.page_items]]
        absent = tuple(index for index, record in enumerate(found) if record is None)
        return state.StateValues(tuple(NIL if record is None else record.value for record in found), absent)

    def _StatePutMany(self, request: state.StatePutMany) -> Reply:
        puts = [state.StatePut(request.namespace, item.key, item.value, request.ttl_us) for item in request.items]
        stored: Any = tuple(map(self._StatePut, puts))
        return state.StateStoredMany(stored)

    def _StateTouch(self, request: state.StateTouch) -> Reply:
        record = self.records.get((request.namespace, request.key))
        if record is None:
            raise errors.NotFound("no such record", field="key")
        self.position += 1
        return state.StateTouched(record.version, None if request.ttl_us is None else self.time + request.ttl_us)

    def _StateHistory(self, request: state.StateHistory) -> Reply:
        record = self.records.get((request.namespace, request.key))
        if record is None:
            return state.StateVersions((), 0, 0)
        newest = record.version if request.before_version is None else request.before_version - 1
        oldest = max(newest - min(request.limit, self.page_items), 0)
        found = tuple(
            state.StateVersion(number, Raw(b"\x01"), NOW + number, None, False) for number in range(newest, oldest, -1)
        )
        return state.StateVersions(found, oldest + 1 if oldest else 0, 1)

    def _matching(self, namespace: tuple[str, ...], prefix: str, pattern: str) -> list[str]:
        return sorted(
            key
            for space, key in self.records
            if space == namespace and key.startswith(prefix) and (not pattern or fnmatchcase(key, pattern))
        )

    def _StateScan(self, request: state.StateScan) -> Reply:
        keys = self._matching(request.namespace, request.prefix, request.pattern)
        keys = keys[::-1] if request.reverse else keys
        start = int(request.cursor or b"0")
        page = keys[start : start + min(request.limit, self.page_items)]
        end = start + len(page)
        found = [self.records[request.namespace, key] for key in page]
        valid_until = min((each.expires_at for each in found if each.expires_at), default=limits.TIME_US_MAX)
        return state.StatePage(tuple(found), b"%d" % end if end < len(keys) else b"", valid_until)

    def _StateCount(self, request: state.StateCount) -> Reply:
        total = len(self._matching(request.namespace, request.prefix, request.pattern))
        start = int(request.cursor or b"0")
        end = min(start + self.page_items, total)
        return connection.Counted(end - start, b"%d" % end if end < total else b"")

    def _StateDeletePrefix(self, request: state.StateDeletePrefix) -> Reply:
        keys = self._matching(request.namespace, request.prefix, "")
        step = keys[: min(request.limit, self.page_items)]
        for key in step:
            del self.records[request.namespace, key]
        self.position += 1
        done = len(step) == len(keys)
        return connection.Deleted(len(step), done, b"" if done else b"more")

    # Logs.

    def _LogAppend(self, request: logs.LogAppend) -> Reply:
        items = self.items.setdefault((request.namespace, request.log_id), [])
        first = len(items)
        if request.if_next not in (None, first):
            raise errors.VersionConflict(f"the next position is {first}", field="if_next")
        self._write(Kind.LOG, request.namespace, request.log_id)
        self.position += 1
        items += [logs.LogItem(first + index, self.time, item) for index, item in enumerate(request.items)]
        return logs.LogAppended(first, len(items), self.time)

    def _LogRead(self, request: logs.LogRead) -> Reply:
        items = self.items.get((request.namespace, request.log_id), [])
        limit = min(request.limit, self.page_items)
        if request.last is not None:
            found = items[-min(request.last, limit) :]
        elif request.before is not None:
            found = items[max(request.before - limit, 0) : request.before]
        else:
            start = request.start or 0
            found = items[start : start + limit]
        revision = self.revisions.get((Kind.LOG, request.namespace, request.log_id), 0)
        return logs.LogPage(tuple(found), 0, len(items), revision)

    def _LogPopLast(self, request: logs.LogPopLast) -> Reply:
        items = self.items.get((request.namespace, request.log_id), [])
        popped, items[-request.count :] = items[-request.count :], []
        self.position += 1
        return logs.LogPage(tuple(popped), 0, len(items), self.position)

    def _LogTruncate(self, request: logs.LogTruncate) -> Reply:
        self.position += 1
        return logs.LogInfo(request.log_id, request.before or 0, request.after or 9, NOW, NOW, self.position)

    def _LogCopy(self, request: logs.LogCopy) -> Reply:
        self.position += 1
        self.items[request.target_namespace, request.target_id] = list(self.items[request.namespace, request.log_id])
        return logs.LogInfo(request.target_id, 0, 1, NOW, NOW, self.position)

    def _LogDelete(self, request: logs.LogDelete) -> Reply:
        self.position += 1
        return connection.Deleted(1 if self.items.pop((request.namespace, request.log_id), None) else 0)

    def _LogHead(self, request: logs.LogHead) -> Reply:
        if (request.namespace, request.log_id) not in self.items:
            return state.Absent()
        revision = self.revisions.get((Kind.LOG, request.namespace, request.log_id), 0)
        count = len(self.items[request.namespace, request.log_id])
        return logs.LogInfo(request.log_id, 0, count, NOW, NOW, revision)

    def _LogList(self, request: logs.LogList) -> Reply:
        found = sorted(log_id for space, log_id in self.items if space == request.namespace)
        return logs.LogInfos(tuple(logs.LogInfo(log_id, 0, 1, NOW, NOW, 1) for log_id in found), b"")

    # Conversations.

    def _ConversationCreate(self, request: conversations.ConversationCreate) -> Reply:
        conversation_id = request.conversation_id or f"c-{self.position}"
        if (request.namespace, conversation_id) in self.messages:
            raise errors.AlreadyExists("there is such a conversation", field="conversation_id")
        self._write(Kind.CONVERSATION, request.namespace, conversation_id)
        self.position += 1
        self.messages[request.namespace, conversation_id] = []
        return conversations.ConversationCreated(conversation_id, self.time)

    def _conversation(self, request: Any) -> list[conversations.Message]:
        found = self.messages.get((request.namespace, request.conversation_id))
        if found is None:
            raise errors.NotFound("there is no such conversation", field="conversation_id")
        return found

    def _ConversationAppend(self, request: conversations.ConversationAppend) -> Reply:
        messages = self._conversation(request)
        self._write(Kind.CONVERSATION, request.namespace, request.conversation_id)
        self.position += 1
        stored = []
        for new in request.messages:
            known = {message.message_id: message for message in messages}
            message_id = new.message_id or f"m-{len(messages)}"
            if message_id in known:
                if not request.skip_duplicates:
                    raise errors.AlreadyExists("there is such a message", field="message_id")
                stored.append(conversations.MessageStored(message_id, new.role, NOW, known[message_id].position, True))
                continue
            position = len(messages)
            messages.append(
                conversations.Message(
                    message_id, new.role, new.content, self.time, position, new.valid_at, new.metadata
                )
            )
            if new.vectors:
                self.message_vectors[request.conversation_id, position] = message_id, new.vectors
            stored.append(conversations.MessageStored(message_id, new.role, self.time, position))
        return conversations.MessagesStored(request.conversation_id, tuple(stored))

    def _ConversationVectors(self, request: conversations.ConversationVectors) -> Reply:
        """Look at three messages at most."""
        end = min(request.first + min(request.limit, 3), len(self._conversation(request)))
        found = [
            conversations.VectorsOfMessage(position, *told)
            for (conversation_id, position), told in self.message_vectors.items()
            if conversation_id == request.conversation_id and request.first <= position < end
        ]
        return conversations.MessageVectors(tuple(found), end)

    def _SpaceLacking(self, request: vector_spaces.SpaceLacking) -> Reply:
        """Tell two messages at most."""
        lacking = [
            vector_spaces.LackingMessage(conversation_id, 1, message.position, message.content)
            for (namespace, conversation_id), messages in self.messages.items()
            if namespace == request.namespace
            for message in messages
            if request.space not in self.message_vectors.get((conversation_id, message.position), ("", {}))[1]
        ]
        if request.counted:
            return vector_spaces.LackingMessages((), b"", len(lacking))
        return vector_spaces.LackingMessages(tuple(lacking[:2]), b"", len(lacking[:2]))

    def _SpaceEmbedMessages(self, request: vector_spaces.SpaceEmbedMessages) -> Reply:
        self.position += 1
        for each in request.vectors:
            place = each.conversation_id, each.position
            message_id = self.messages[request.namespace, each.conversation_id][each.position].message_id
            _, before = self.message_vectors.get(place, ("", {}))
            self.message_vectors[place] = message_id, {**before, request.space: each.components}
        return vector_spaces.Embedded((True,) * len(request.vectors))

    def _ConversationHistory(self, request: conversations.ConversationHistory) -> Reply:
        messages = self._conversation(request)
        positions = {message.message_id: message.position for message in messages}
        limit = min(request.limit, self.page_items)
        before, after = request.before, request.after
        if (request.before_id or request.after_id or next(iter(positions), "")) not in positions and positions:
            raise errors.NotFound("there is no such message", field="before_id")
        before = positions[request.before_id] if request.before_id else before
        after = positions[request.after_id] if request.after_id else after
        if request.last is not None:
            found = messages[-min(request.last, limit) :]
        elif before is not None:
            found = messages[max(before - limit, 0) : before]
        else:
            start = 0 if after is None else after + 1
            found = messages[start : start + limit]
        revision = self.revisions[Kind.CONVERSATION, request.namespace, request.conversation_id]
        return conversations.History(request.conversation_id, tuple(found), len(messages), revision)

    def _ConversationHead(self, request: conversations.ConversationHead) -> Reply:
        if (request.namespace, request.conversation_id) not in self.messages:
            return state.Absent()
        return self._conversation_info(request.namespace, request.conversation_id)

    def _conversation_info(self, namespace: tuple[str, ...], name: str) -> conversations.ConversationInfo:
        revision = self.revisions[Kind.CONVERSATION, namespace, name]
        return conversations.ConversationInfo(name, NOW, NOW, len(self.messages[namespace, name]), None, revision)

    def _ConversationList(self, request: conversations.ConversationList) -> Reply:
        found = [self._conversation_info(space, name) for space, name in self.messages if space == request.namespace]
        return conversations.ConversationPage(tuple(found), b"")

    def _ConversationDelete(self, request: conversations.ConversationDelete) -> Reply:
        self.position += 1
        return connection.Deleted(1 if self.messages.pop((request.namespace, request.conversation_id), None) else 0)

    # Several at once.

    def _Batch(self, request: multi.Batch) -> Reply:
        results: Any = tuple(map(self.execute, request.operations))
        return multi.Results(results)

    def _Transaction(self, request: multi.Transaction) -> Reply:
        for guard in request.guards:
            if isinstance(guard, multi.RecordGuard):
                revision = self.revisions.get((Kind(guard.kind), guard.namespace, guard.key), 0)
                holds = revision == guard.revision
            else:
                holds = all(
                    revision <= guard.position
                    for (kind, namespace, _), revision in self.revisions.items()
                    if (kind, namespace) == (guard.kind, guard.namespace)
                )
            if not holds:
                raise errors.TransactionConflict("something read has changed")
        results: Any = tuple(map(self.execute, request.operations))
        refused = [result for result in results if isinstance(result, connection.ErrorReply)]
        return refused[0] if refused else multi.Results(results)


def error_reply(error: errors.RecollectdError) -> connection.ErrorReply:
    """Return an error as the daemon sends it."""
    return connection.ErrorReply(error.code, error.message, error.field, error.retry_after_ms, error.error_id)
