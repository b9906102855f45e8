"""Everything a store holds, read through the protocol, and how it compares with the model or with another dump."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple, cast

from msgspec import Struct, structs

from bench.crash import arms, log_model, memory_model, message_vector_model, records, space_model
from bench.crash.model import Model
from bench.crash.records import Conversation, Key, Log, State, Version, difference
from bench.crash.workload import SHORT_LIVED, SLIDING
from bench.wire import AsyncConnection
from recollectd.protocol.errors import NotFound
from recollectd.protocol.messages import connection as messages
from recollectd.protocol.messages import conversations, logs, search_settings, state, vector_spaces
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.memories import Memory

Namespace = tuple[str, ...]
SWEPT_TIMEOUT_S = 20.0
_UNCONFIGURED: Final = space_model.settings_told(space_model.UNCONFIGURED)


class HistoryOf(Struct, frozen=True):
    """A state record's versions, newest first, and the oldest one kept."""

    versions: tuple[state.StateVersion, ...]
    first_version: int


class LogOf(Struct, frozen=True):
    """A log's head and its items."""

    info: logs.LogInfo
    items: tuple[logs.LogItem, ...]


class ConversationOf(Struct, frozen=True):
    """A conversation's head, its messages and their vectors."""

    info: conversations.ConversationInfo
    messages: tuple[conversations.Message, ...]
    vectors: tuple[conversations.VectorsOfMessage, ...]


class Dump(NamedTuple):
    """What a store holds, by key; absent records are left out, histories of deleted ones are not."""

    namespaces: tuple[Namespace, ...]
    states: dict[Key, state.StateRecord]
    histories: dict[Key, HistoryOf]
    logs: dict[Key, LogOf]
    conversations: dict[Key, ConversationOf]
    memories: dict[Key, Memory]
    spaces: dict[Key, vector_spaces.Space]
    settings: dict[Key, search_settings.SearchSettings]

    def held(self, namespace: Namespace) -> arms.Held:
        """Return what of a namespace searches are about."""
        settings = self.settings.get(space_model.settings_key(namespace))
        return arms.Held(
            namespace,
            [memory for key, memory in self.memories.items() if key[1] == namespace],
            {key[2]: each.messages for key, each in self.conversations.items() if key[1] == namespace},
            {
                (key[2], told.position): told.vectors or {}
                for key, each in self.conversations.items()
                if key[1] == namespace
                for told in each.vectors
            },
            {key[2]: space for key, space in self.spaces.items() if key[1] == namespace},
            settings is not None and settings.messages,
        )


async def take(
    connection: AsyncConnection, namespaces: Iterable[Namespace], names: Iterable[str], rng: random.Random
) -> Dump:
    """Read everything.

    namespaces: those that may have anything beside those the daemon lists; names: keys whose histories may be there
    though the records are not.
    """
    listed = [each async for each in _namespaces(connection, rng)]
    states: dict[Key, state.StateRecord] = {}
    histories: dict[Key, HistoryOf] = {}
    found_logs: dict[Key, LogOf] = {}
    found_conversations: dict[Key, ConversationOf] = {}
    memories: dict[Key, Memory] = {}
    spaces: dict[Key, vector_spaces.Space] = {}
    settings: dict[Key, search_settings.SearchSettings] = {}
    for namespace in sorted({*listed, *namespaces}):
        async for record in scan(connection, namespace, rng.randint(1, 50)):
            states[int(Kind.STATE), namespace, record.key] = record
        asked = sorted({key[2] for key in states if key[1] == namespace} | {*names})
        for name, history in zip(
            asked, await asyncio.gather(*(_history(connection, namespace, name) for name in asked)), strict=True
        ):
            if history.first_version:
                histories[int(Kind.STATE), namespace, name] = history
        async for log in _logs(connection, namespace, rng.randint(1, 20)):
            found_logs[int(Kind.LOG), namespace, log.info.log_id] = log
        second = None
        async for conversation in _conversations(connection, namespace, rng.randint(1, 20)):
            used = conversation.info.last_used_at // 1_000_000
            assert second is None or used <= second, f"{conversation.info} is not in the order of last use"
            second = used
            key = (int(Kind.CONVERSATION), namespace, conversation.info.conversation_id)
            assert key not in found_conversations, f"{key} is listed twice"
            found_conversations[key] = conversation
        async for memory in arms.listed(connection, namespace, rng.randint(1, 20)):
            memories[int(Kind.MEMORY), namespace, memory.memory_id] = memory
        await _take_spaces(connection, namespace, spaces, settings)
    return Dump(tuple(listed), states, histories, found_logs, found_conversations, memories, spaces, settings)


async def _take_spaces(
    connection: AsyncConnection,
    namespace: Namespace,
    spaces: dict[Key, vector_spaces.Space],
    settings: dict[Key, search_settings.SearchSettings],
) -> None:
    """Read a namespace's vector spaces, and how it is searched where that was ever told."""
    reply = await connection.call(vector_spaces.SpaceList(namespace))
    assert isinstance(reply, vector_spaces.Spaces)
    for space in reply.spaces:
        spaces[space_model.key_of(namespace, space.name)] = space
    told = await connection.call(search_settings.SearchSettingsGet(namespace))
    assert isinstance(told, search_settings.SearchSettings)
    told = structs.replace(told, indexing=False)
    if told != _UNCONFIGURED:
        settings[space_model.settings_key(namespace)] = told


async def _namespaces(connection: AsyncConnection, rng: random.Random) -> AsyncIterator[Namespace]:
    cursor = b""
    while True:
        page = await connection.call(messages.NamespaceList(limit=rng.randint(1, 5), cursor=cursor))
        assert isinstance(page, messages.NamespacePage)
        for namespace in page.namespaces:
            yield namespace
        if not (cursor := page.cursor):
            return


async def scan(
    connection: AsyncConnection,
    namespace: Namespace,
    limit: int,
    *,
    prefix: str = "",
    pattern: str = "",
    reverse: bool = False,
) -> AsyncIterator[state.StateRecord]:
    """Yield state records page by page."""
    cursor = b""
    while True:
        page = await connection.call(state.StateScan(namespace, prefix, pattern, reverse, limit, cursor))
        assert isinstance(page, state.StatePage)
        for record in page.records:
            yield record
        if not (cursor := page.cursor):
            return


async def _history(connection: AsyncConnection, namespace: Namespace, key: str) -> HistoryOf:
    versions: list[state.StateVersion] = []
    before: int | None = None
    while True:
        page = await connection.call(state.StateHistory(namespace, key, 40, before))
        assert isinstance(page, state.StateVersions)
        versions += page.versions
        if not page.next_before:
            return HistoryOf(tuple(versions), page.first_version)
        before = page.next_before


async def _logs(connection: AsyncConnection, namespace: Namespace, limit: int) -> AsyncIterator[LogOf]:
    cursor = b""
    while True:
        page = await connection.call(logs.LogList(namespace, limit=limit, cursor=cursor))
        assert isinstance(page, logs.LogInfos)
        for info in page.logs:
            items: list[logs.LogItem] = []
            while info.first + len(items) < info.next:
                start = info.first + len(items)
                part = await connection.call(logs.LogRead(namespace, info.log_id, start, limit=limit))
                assert isinstance(part, logs.LogPage)
                assert part.items, f"the log {info} ends at {start}"
                items += part.items
            yield LogOf(info, tuple(items))
        if not (cursor := page.cursor):
            return


async def _conversations(
    connection: AsyncConnection, namespace: Namespace, limit: int
) -> AsyncIterator[ConversationOf]:
    cursor = b""
    while True:
        page = await connection.call(conversations.ConversationList(namespace, limit, cursor))
        assert isinstance(page, conversations.ConversationPage)
        for info in page.conversations:
            found: list[conversations.Message] = []
            while len(found) < info.total_messages:
                after = found[-1].position if found else None
                part = await connection.call(
                    conversations.ConversationHistory(namespace, info.conversation_id, after=after, limit=limit)
                )
                assert isinstance(part, conversations.History)
                assert part.messages, f"the conversation {info} ends after {len(found)} messages"
                found += part.messages
            vectors = await _message_vectors(connection, namespace, info, limit)
            yield ConversationOf(info, tuple(found), vectors)
        if not (cursor := page.cursor):
            return


async def _message_vectors(
    connection: AsyncConnection, namespace: Namespace, info: conversations.ConversationInfo, limit: int
) -> tuple[conversations.VectorsOfMessage, ...]:
    found: list[conversations.VectorsOfMessage] = []
    first = 0
    while first < info.total_messages:
        request = conversations.ConversationVectors(namespace, info.conversation_id, first, limit)
        part = await connection.call(request)
        assert isinstance(part, conversations.MessageVectors)
        assert part.next > first, f"the vectors of {info} end at {first}"
        found += part.messages
        first = part.next
    return tuple(found)


# -- Against the model. ------------------------------------------------------------------------------------------------


def expected(model: Model) -> Dump:
    """Return the dump the model asks for. Times it does not know exactly stay spans; so do sliding expiries."""
    states: dict[Key, state.StateRecord] = {}
    histories: dict[Key, HistoryOf] = {}
    found_logs: dict[Key, LogOf] = {}
    found_conversations: dict[Key, ConversationOf] = {}
    memories: dict[Key, Memory] = {}
    spaces: dict[Key, vector_spaces.Space] = {}
    settings: dict[Key, search_settings.SearchSettings] = {}
    for key, record in model.records.items():
        if isinstance(record, State):
            if record.newest.value is not None:
                states[key] = _state(key[2], record)
            histories[key] = HistoryOf(tuple(map(_version, reversed(record.versions))), record.versions[0].version)
        elif isinstance(record, Log):
            items = (logs.LogItem(record.first + index, *entry) for index, entry in enumerate(record.items))
            found_logs[key] = LogOf(log_model.info(key[2], record), tuple(items))
        elif isinstance(record, Conversation):
            found_conversations[key] = _conversation(model, key, record)
        elif isinstance(record, records.Memory) and record.text is not None:
            told = memory_model.told(key[2], record, space_model.spaces_of(model.records, key[1]))
            memories[key] = memory_model.counting(told) if space_model.counted(model.records, key[1]) else told
        elif isinstance(record, records.Space):
            spaces[key] = space_model.told(key[2], record)
        elif isinstance(record, records.Settings):
            searched = space_model.settings_told(record)
            if searched != _UNCONFIGURED:
                settings[key] = searched
    return Dump((), states, histories, found_logs, found_conversations, memories, spaces, settings)


def later(found: Dump, model: Model) -> Dump:
    """Return a dump as it may be after reads and another recovery: accesses may have been counted, none are lost."""
    memories = {
        key: memory_model.counting(memory) if space_model.counted(model.records, key[1]) else memory
        for key, memory in found.memories.items()
    }
    return found._replace(memories=memories)


def _state(name: str, record: State) -> state.StateRecord:
    newest = record.newest
    value, updated_at = cast(Any, newest.value), cast(int, newest.updated_at)
    return state.StateRecord(
        name, value, newest.version, record.created_at, updated_at, record.expires_at, record.revision
    )


def _version(version: Version) -> state.StateVersion:
    value, updated_at = cast(Any, version.value), version.updated_at
    return state.StateVersion(version.version, value, cast(int, updated_at), version.expires_at, version.value is None)


def _conversation(model: Model, key: Key, record: Conversation) -> ConversationOf:
    _, namespace, name = key
    info = conversations.ConversationInfo(
        name, record.created_at, record.updated_at, len(record.items), cast(Any, record.metadata), record.revision
    )
    said = []
    for position, entry in enumerate(record.items):
        message_id, role, content, valid_at, metadata = entry.value
        said.append(conversations.Message(message_id, role, content, entry.stored_at, position, valid_at, metadata))
    vectors = model.records.get(space_model.message_vectors_key(namespace, name))
    assert vectors is None or isinstance(vectors, records.MessageVectors)
    told = message_vector_model.told(vectors, record, space_model.spaces_of(model.records, namespace))
    return ConversationOf(info, tuple(said), told)


def differences(wanted: Dump, found: Dump) -> Iterator[str]:
    """Yield what is missing, too much or different in a dump."""
    for name in ("states", "histories", "logs", "conversations", "memories", "spaces", "settings"):
        left: dict[Key, Any] = getattr(wanted, name)
        right: dict[Key, Any] = getattr(found, name)
        for key in sorted({*left, *right}):
            if key not in right:
                yield f"{name}: {key} is missing: {left[key]!r:.300}"
            elif key not in left:
                yield f"{name}: {key} should not exist: {right[key]!r:.300}"
            elif text := difference(_steady(key, left[key]), _steady(key, right[key])):
                yield f"{name}: {key}{text}"
    with_records = {
        key[1] for kind in (wanted.states, wanted.logs, wanted.conversations, wanted.memories) for key in kind
    }
    if missing := with_records - {*found.namespaces}:
        yield f"namespaces: {missing} are not listed"
    if len({*found.namespaces}) < len(found.namespaces):
        yield f"namespaces: listed twice: {found.namespaces}"


def _steady(key: Key, record: Any) -> Any:
    """Leave out what reading itself moves: the expiry of sliding records."""
    if key[1] == SLIDING and isinstance(record, state.StateRecord):
        return structs.replace(record, expires_at=None, revision=0)
    return record


async def check_walks(connection: AsyncConnection, dump: Dump, namespace: Namespace, rng: random.Random) -> list[str]:
    """Compare scans with prefix, pattern and backwards, single reads and counts with a dump; return what differs."""
    records = [record for key, record in dump.states.items() if key[1] == namespace]
    prefix = rng.choice(("", "k", "k0", "p/", "z*", "none"))
    pattern = rng.choice(("", "k*1", "k?[0-5]", "*/[!0-2]", "z[*][?][[]"))
    reverse = rng.random() < 0.5
    wanted = [
        record.key
        for record in records
        if record.key.startswith(prefix) and (not pattern or fnmatchcase(record.key, pattern))
    ]
    wanted.sort(key=str.encode, reverse=reverse)
    query = f"{namespace} prefix {prefix!r} pattern {pattern!r} reverse {reverse}"
    walk = scan(connection, namespace, rng.randint(1, 5), prefix=prefix, pattern=pattern, reverse=reverse)
    found = [record.key async for record in walk]
    trouble = [] if found == wanted else [f"scan of {query}: found {found}, expected {wanted}"]
    counted = await connection.call(state.StateCount(namespace, prefix, pattern))
    if not isinstance(counted, messages.Counted) or (counted.count, counted.cursor) != (len(wanted), b""):
        trouble.append(f"count of {query}: {counted}, expected {len(wanted)}")
    for record in rng.sample(records, min(len(records), 5)):
        got = await connection.call(state.StateGet(namespace, record.key))
        if text := difference(_steady((0, namespace, ""), record), _steady((0, namespace, ""), got)):
            trouble.append(f"get of {namespace} {record.key!r}{text}")
    return trouble


async def wait_swept(connection: AsyncConnection, model: Model) -> None:
    """Wait until every expiry the model knows of short-lived records has become an event."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + SWEPT_TIMEOUT_S
    for key, record in model.records.items():
        if key[1] != SHORT_LIVED or not isinstance(record, State) or record.newest.value is None:
            continue
        while True:
            try:
                history = await _history(connection, key[1], key[2])
            except NotFound:
                break
            if not history.versions or history.versions[0].deleted:
                break
            if loop.time() > give_up:
                raise AssertionError(f"{key} expired at {record.expires_at} and was never swept: {history!r:.500}")
            await asyncio.sleep(0.02)
