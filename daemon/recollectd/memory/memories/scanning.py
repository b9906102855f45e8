"""Reading records outside of requests: what the views over memories are told, and what they are made of anew."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Final, TypeVar

from recollectd.memory.kind import Fetch, Rows
from recollectd.memory.memories import indexing, said
from recollectd.memory.memories.fetching import Found
from recollectd.memory.memories.indexing import scope_of
from recollectd.memory.memories.scopes import SearchScopes, all_messages
from recollectd.memory.message_vectors import rows as message_vectors
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.engine import Engine
from recollectd.storage.keyspace import Family, after_prefix, namespace_end
from recollectd.storage.keywords.options import Put as KeywordPut

T = TypeVar("T")

_STEP: Final = 256
_WALK_ROWS: Final = 1_000


def all_documents(engine: Engine, scopes: SearchScopes) -> Iterator[KeywordPut]:
    """Yield what the keyword view is made of: all memories, and the messages of namespaces where they are searched."""
    for scope in scopes.searchable():
        for noted_messages in all_messages(engine, scope):
            for span in said.spans(noted_messages):
                changes = finish(said.changes(span, searchable=True), engine)
                yield from (each for each in changes if isinstance(each, KeywordPut))
    keys: list[bytes] = []
    for key, _ in walk(engine, Family.HEADS, bytes((Kind.MEMORY,))):
        keys.append(key)
        if len(keys) == _STEP:
            yield from _documents_of(engine, keys)
            keys = []
    yield from _documents_of(engine, keys)


def _documents_of(engine: Engine, keys: list[bytes]) -> Iterator[KeywordPut]:
    wanted = {(scope_of(key), key[namespace_end(key) :]) for key in keys}
    for change in finish(indexing.index(keys, {}, SearchScopes()), engine).keywords:
        if isinstance(change, KeywordPut) and (change.scope, change.record_id) in wanted:
            yield change


def all_memories(engine: Engine, scope: bytes, *, vectors: bool = False) -> Iterator[Found]:
    """Yield the memories of a scope that are there."""
    keys: list[bytes] = []
    for key, _ in walk(engine, Family.HEADS, bytes((Kind.MEMORY,)) + scope):
        keys.append(key)
        if len(keys) == _STEP:
            yield from finish(indexing.all_found(keys, vectors=vectors), engine).values()
            keys = []
    yield from finish(indexing.all_found(keys, vectors=vectors), engine).values()


def all_vectors(engine: Engine, scope: bytes, name: str, incarnation: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the vectors in a space of a scope of the vector view, of memories or of messages, by its record ids."""
    if said.is_message(scope):
        heads = walk(engine, Family.HEADS, bytes((Kind.MESSAGE_VECTORS,)) + said.namespace_of(scope))
        for reading in message_vectors.all_of(heads, name, incarnation):
            yield from finish(reading, engine)
        return
    for found in all_memories(engine, scope, vectors=True):
        vector = (found.vectors or {}).get(name)
        if vector is not None and vector.incarnation == incarnation:
            yield found.key[namespace_end(found.key) :], vector.components


def walk(engine: Engine, family: Family, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """Yield all rows that begin with a prefix, from a key on, in steps."""
    at, stop = start or prefix, after_prefix(prefix)
    while step := engine.walk(family, at, stop, keys_max=_WALK_ROWS):
        yield from step
        at = step[-1][0] + b"\0"


def finish(reading: Generator[Fetch, Rows, T], engine: Engine) -> T:
    """Run a reading to its end."""
    try:
        fetch = next(reading)
        while True:
            fetch = reading.send(engine.get_many(fetch.family, fetch.keys) if fetch.keys else [])
    except StopIteration as stop:
        result: T = stop.value
        return result
