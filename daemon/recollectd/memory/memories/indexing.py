"""From changed records to what the views over memories must know: read from applied state, so it may run again."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from recollectd.memory.kind import Fetch, Rows
from recollectd.memory.memories import documents
from recollectd.memory.memories.documents import REACH, Neighbour
from recollectd.memory.memories.fetching import Found, found_among
from recollectd.memory.memories.heads import (
    MemoryHead,
    SpaceHead,
    changed_memory,
    decode_head,
    decode_space,
    is_changed_memory,
    left_place,
    thread_key,
)
from recollectd.memory.memories.scopes import SearchScopes
from recollectd.memory.message_vectors import rows as message_vectors
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import MESSAGES_MARK, Family, namespace_end, path, thread_row_key
from recollectd.storage.keywords.options import Change as KeywordChange
from recollectd.storage.keywords.options import Delete as KeywordDelete
from recollectd.storage.keywords.options import Put as KeywordPut
from recollectd.storage.vectors.changes import Change as VectorChange
from recollectd.storage.vectors.changes import Create, Drop
from recollectd.storage.vectors.changes import Delete as VectorDelete
from recollectd.storage.vectors.changes import Put as VectorPut
from recollectd.storage.vectors.spec import Metric, Precision, Spec

Spaces = dict[tuple[bytes, str], int]
"""The incarnations of the vector spaces that the vector view has, by scope and name."""


class _Timeless(NamedTuple):
    """Sees memories until their expiry is an event, as a view does that follows events."""

    time: int = 0


class Indexed(NamedTuple):
    """What one step of indexing tells the views. found: the changed memories that are there, by record key."""

    keywords: list[KeywordChange]
    vectors: list[VectorChange]
    found: dict[bytes, Found]


_MEMORY: Final = bytes((Kind.MEMORY,))
_NOTHING: Final[Mapping[bytes, Found]] = MappingProxyType({})
_Place = tuple[bytes, int]  # path of the conversation, position


def scope_of(key: bytes) -> bytes:
    """Return the scope of a record key in the views: the bytes of its namespace."""
    return key[1 : namespace_end(key)]


def index(
    keys: Iterable[bytes], spaces: Spaces, scopes: SearchScopes, brought: Mapping[bytes, Found] = _NOTHING
) -> Generator[Fetch, Rows, Indexed]:
    """Read what changed and return what the views must know, messages apart; spaces and scopes are brought along.

    brought: memories among the changed that need not be read.
    """
    changed = list(dict.fromkeys(keys))
    vectors: list[VectorChange] = []
    space_keys = [key for key in changed if key[0] == Kind.VECTOR_SPACE]
    if space_keys:
        rows = yield Fetch(Family.HEADS, space_keys)
        for key, row in zip(space_keys, rows, strict=True):
            vectors += _space_changes(key, None if row is None else decode_space(row), spaces)
    settings = [key for key in changed if key[0] == Kind.SEARCH_SETTINGS]
    if settings:
        yield from scopes.learn(settings)
    for scope in dict.fromkeys(scope_of(key) for key in (*space_keys, *settings)):
        vectors += yield from _spaces_of_messages(scope, spaces, searched=scopes.of(scope).messages)
    memories: dict[bytes, bool] = {}
    for key, reworded in (changed_memory(each) for each in changed if is_changed_memory(each)):
        memories[key] = reworded or memories.get(key, False)
    found = yield from all_found([key for key in memories if key not in brought], vectors=True)
    found.update(brought)
    by_scope: dict[bytes, list[tuple[str, int]]] = {}
    for (scope, name), incarnation in spaces.items():
        by_scope.setdefault(scope, []).append((name, incarnation))
    for key in memories:
        vectors += _vector_changes(key, found.get(key), by_scope)
    vectors += yield from message_vectors.changes(filter(message_vectors.are_noted, changed), by_scope)
    left = [place for key in changed if (place := left_place(key)) is not None]
    keywords = yield from _documents([key for key, reworded in memories.items() if reworded], found, left)
    return Indexed(keywords, vectors, found)


def _space_changes(key: bytes, head: SpaceHead | None, spaces: Spaces) -> Iterator[VectorChange]:
    scope = scope_of(key)
    name = key[namespace_end(key) :].decode()
    known = spaces.get((scope, name))
    wanted = head if head is not None and not head.alias_of else None
    if known is not None and (wanted is None or wanted.incarnation != known):
        del spaces[scope, name]
        yield Drop(scope, name)
    if wanted is not None and spaces.get((scope, name)) is None:
        spaces[scope, name] = wanted.incarnation
        yield Create(scope, name, spec_of(wanted))


def _spaces_of_messages(scope: bytes, spaces: Spaces, *, searched: bool) -> Generator[Fetch, Rows, list[VectorChange]]:
    """Return what makes a namespace's spaces have one each for its messages' vectors, as long as those are searched."""
    names = [name for each, name in spaces if each == scope] if searched else []
    rows = yield Fetch(Family.HEADS, [_space_key(scope, name) for name in names])
    heads = {name: decode_space(row) for name, row in zip(names, rows, strict=True) if row is not None}
    wanted = {name: head for name, head in heads.items() if head.incarnation == spaces[scope, name]}
    of_messages = MESSAGES_MARK + scope
    changes: list[VectorChange] = []
    for name in [name for each, name in spaces if each == of_messages]:
        if name not in wanted or spaces[of_messages, name] != wanted[name].incarnation:
            del spaces[of_messages, name]
            changes.append(Drop(of_messages, name))
    for name, head in wanted.items():
        if (of_messages, name) not in spaces:
            spaces[of_messages, name] = head.incarnation
            changes.append(Create(of_messages, name, spec_of(head)))
    return changes


def _space_key(scope: bytes, name: str) -> bytes:
    return bytes((Kind.VECTOR_SPACE,)) + scope + name.encode()


def spec_of(head: SpaceHead) -> Spec:
    """Return a space as the vector view makes it."""
    return Spec(head.dimensions, Metric(head.metric), Precision(head.precision))


def _vector_changes(
    key: bytes, found: Found | None, by_scope: dict[bytes, list[tuple[str, int]]]
) -> Iterator[VectorChange]:
    scope, record_id = scope_of(key), key[namespace_end(key) :]
    stored = {} if found is None or found.vectors is None else found.vectors
    for name, incarnation in by_scope.get(scope, ()):
        vector = stored.get(name)
        if vector is not None and vector.incarnation == incarnation:
            yield VectorPut(scope, name, record_id, vector.components)
        else:
            yield VectorDelete(scope, name, record_id)


def all_found(keys: Sequence[bytes], *, vectors: bool = False) -> Generator[Fetch, Rows, dict[bytes, Found]]:
    """Fetch all memories of the keys, however much they hold."""
    found: dict[bytes, Found] = {}
    at = 0
    while at < len(keys):
        step = yield from found_among(keys[at : at + _STEP], _Timeless(), vectors=vectors)
        found.update({each.key: each for each in step if each is not None})
        at += len(step)
    return found


def _documents(
    memories: Sequence[bytes], found: dict[bytes, Found], left: Sequence[_Place]
) -> Generator[Fetch, Rows, list[KeywordChange]]:
    """Make the documents of memories, and anew those of the memories around them, whose contexts they are part of.

    left: places where memories were, by the key of the conversation's head.
    """
    places = yield from _places_of(memories, found)
    namespaces = {thread: key[: namespace_end(key)] for key, (thread, _) in places.items()}
    namespaces |= {path(key): _MEMORY + key[1 : namespace_end(key)] for key, _ in left}
    changed = dict.fromkeys((*places.values(), *((path(key), at) for key, at in left)))
    around = sorted({(thread, near) for thread, at in changed for near in _near(at, 2 * REACH)})
    rows = yield Fetch(Family.INDEX, [thread_row_key(thread, position) for thread, position in around])
    members: dict[_Place, bytes] = {
        place: namespaces[place[0]] + row for place, row in zip(around, rows, strict=True) if row is not None
    }
    missing = [key for key in members.values() if key not in found]
    known = {**found, **(yield from all_found(missing))}
    touched = {key: places.get(key) for key in memories}
    for thread, at in changed:
        for near in _near(at, REACH):
            key = members.get((thread, near))
            if key is not None:
                touched[key] = (thread, near)
    return [_document(key, place, members, known) for key, place in touched.items()]


def _document(
    key: bytes, place: _Place | None, members: dict[_Place, bytes], known: dict[bytes, Found]
) -> KeywordChange:
    scope, record_id = scope_of(key), key[namespace_end(key) :]
    found = known.get(key)
    if found is None:
        return KeywordDelete(scope, record_id)
    around: list[Neighbour] = []
    if place is not None:
        thread, at = place
        for near in _near(at, REACH):
            other = known.get(members.get((thread, near), b""))
            if other is not None:
                around.append(Neighbour(near, other.subject.body))
    position = 0 if place is None else place[1]
    return KeywordPut(scope, record_id, documents.texts_of(found.subject.body, position, around))


def _places_of(memories: Sequence[bytes], found: dict[bytes, Found]) -> Generator[Fetch, Rows, dict[bytes, _Place]]:
    """Return where in conversations memories are, or were before they were deleted."""
    gone = [key for key in memories if key not in found]
    rows = yield Fetch(Family.HEADS, gone)
    heads: dict[bytes, MemoryHead] = {
        key: decode_head(row) for key, row in zip(gone, rows, strict=True) if row is not None
    }
    heads |= {key: found[key].subject.head for key in memories if key in found}
    return {key: (path(thread_key(key, head.thread)), head.position) for key, head in heads.items() if head.thread}


def _near(position: int, reach: int) -> range:
    return range(max(0, position - reach), position + reach + 1)


_STEP: Final = 256
