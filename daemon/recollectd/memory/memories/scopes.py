"""What the views over memories know of namespaces' settings. Told by one thread, asked by any."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Final

from recollectd.memory.conversations.events import ConversationDeleted, MessagesAppended
from recollectd.memory.conversations.events import decode_head as decode_conversation
from recollectd.memory.kind import Event, Fetch, Rows
from recollectd.memory.message_vectors.events import MessageVectorsDropped, MessageVectorsSet, noted_of
from recollectd.memory.settings.search import (
    UNCONFIGURED,
    SearchConfigured,
    SearchHead,
    SearchRebuilt,
    decode_head,
)
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.engine import Engine
from recollectd.storage.keyspace import (
    INDEX_LAST_USE,
    MESSAGES_MARK,
    Family,
    after_prefix,
    messages_key,
    namespace_end,
    record_key,
    split_last_use_key,
    split_record_key,
)
from recollectd.storage.keywords.analysis import DEFAULT_ANALYSIS, Analysis

_WALK_ROWS: Final = 256
_SETTINGS: Final = bytes((Kind.SEARCH_SETTINGS,))


class SearchScopes:
    """The settings of namespaces, by the bytes of the namespace."""

    def __init__(self, settings: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._heads: dict[bytes, SearchHead] = {key[1:]: decode_head(row) for key, row in settings}
        # What is followed is known to the event loop, a moment before the views are told.
        self.followed: set[bytes] = {scope for scope, head in self._heads.items() if head.indexed}
        self._outdated: frozenset[bytes] = frozenset(scope for scope, head in self._heads.items() if head.stage)

    def of(self, scope: bytes) -> SearchHead:
        """Return the settings of a namespace."""
        return self._heads.get(scope, UNCONFIGURED)

    def analysis_of(self, scope: bytes) -> Analysis:
        """Return how the texts of a scope of the keyword view are analysed, of memories or of messages."""
        head = self._heads.get(scope.removeprefix(MESSAGES_MARK))
        return DEFAULT_ANALYSIS if head is None else head.analysis

    def pending(self) -> bytes | None:
        """Return a namespace of which something is being indexed anew."""
        return next(iter(self._outdated), None)

    def searchable(self) -> list[bytes]:
        """Return the namespaces whose messages are searched."""
        return [scope for scope, head in self._heads.items() if head.messages]

    def learn(self, keys: list[bytes]) -> Generator[Fetch, Rows, None]:
        """Read settings that have changed."""
        rows = yield Fetch(Family.HEADS, keys)
        heads = {key[1:]: decode_head(row) for key, row in zip(keys, rows, strict=True) if row is not None}
        self._heads = {**self._heads, **heads}

    def noted(self, event: Event) -> Iterable[bytes]:
        """Return what an applied event of settings or of a conversation means to the views. On the event loop."""
        match event:
            case SearchConfigured() | SearchRebuilt():
                scope = event.key[1:]
                (self.followed.add if event.head.indexed else self.followed.discard)(scope)
                self._outdated = self._outdated | {scope} if event.head.stage else self._outdated - {scope}
                return (*event.noted, event.key) if isinstance(event, SearchRebuilt) else (event.key,)
            case MessagesAppended(key, _, first, messages) if _scope(key) in self.followed:
                return (messages_key(key, first, first + len(messages)),)
            case ConversationDeleted(key, first, to, searched=True):
                return (messages_key(key, first, to),)
            case MessageVectorsSet() | MessageVectorsDropped():
                return noted_of(event)
        return ()


def _scope(key: bytes) -> bytes:
    return key[1 : namespace_end(key)]


def walk_settings(engine: Engine) -> Iterator[tuple[bytes, bytes]]:
    """Yield the rows of all settings."""
    start, stop = _SETTINGS, after_prefix(_SETTINGS)
    while step := engine.walk(Family.HEADS, start, stop, keys_max=_WALK_ROWS):
        yield from step
        start = step[-1][0] + b"\0"


def newer_messages(engine: Engine, scope: bytes, seq: int) -> Iterator[tuple[int, bytes]]:
    """Yield conversations of a namespace that have changed behind a commit, each with its last change, all messages.

    The last used come first; times never go back from commit to commit, so it ends at the first second without one.
    """
    prefix = INDEX_LAST_USE + scope
    start, stop = prefix, after_prefix(prefix)
    last_second = -1
    while step := engine.walk(Family.INDEX, start, stop, keys_max=_WALK_ROWS):
        start = step[-1][0] + b"\0"
        named = [split_last_use_key(key) for key, _ in step]
        labels = split_record_key(bytes((Kind.CONVERSATION,)) + scope)[1]
        keys = [record_key(Kind.CONVERSATION, labels, name) for _, name in named]
        for (second, _), key, row in zip(named, keys, engine.get_many(Family.HEADS, keys), strict=True):
            if row is None:
                continue
            head = decode_conversation(row)
            if head.revision > seq:
                yield head.revision, messages_key(key, head.first, head.next)
            elif last_second not in (-1, second):
                return
            else:
                last_second = second


def all_messages(engine: Engine, scope: bytes) -> Iterator[bytes]:
    """Yield all messages of a namespace, by conversation."""
    prefix = bytes((Kind.CONVERSATION,)) + scope
    start, stop = prefix, after_prefix(prefix)
    while step := engine.walk(Family.HEADS, start, stop, keys_max=_WALK_ROWS):
        start = step[-1][0] + b"\0"
        for key, row in step:
            head = decode_conversation(row)
            yield messages_key(key, head.first, head.next)
