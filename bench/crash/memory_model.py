"""Memories in the model: each operation as the protocol's words have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from msgspec import structs

from bench.crash import space_model
from bench.crash.records import Context, Key, Memory, Operations, Perhaps, Refused, Space, Span, Vector
from recollectd.protocol import errors
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages import vector_spaces
from recollectd.protocol.messages.connection import Deleted
from recollectd.protocol.messages.fields import Kind

_ACCESSES_MAX: Final = 1 << 32
_TIME_MAX: Final = 1 << 62


def key_of(namespace: tuple[str, ...], memory_id: str) -> Key:
    """Return a memory's key."""
    return (int(Kind.MEMORY), namespace, memory_id)


def there(context: Context, key: Key) -> Memory | None:
    """Return a memory that is there, or None."""
    record = context.get(key)
    assert record is None or isinstance(record, Memory)
    return None if record is None or record.text is None else record


def add(context: Context, message: messages.MemoryAdd, reply: object) -> messages.MemoriesStored:
    """Add memories, all or none."""
    given = reply.memories if isinstance(reply, messages.MemoriesStored) else ()
    stored: list[messages.MemoryStored] = []
    for index, new in enumerate(message.memories):
        memory_id = new.memory_id
        if memory_id is not None:
            known = there(context, key_of(message.namespace, memory_id))
            if known is not None and not message.if_new:
                raise Refused(errors.AlreadyExists, f"memories[{index}].memory_id")
            if known is not None:
                stored.append(_duplicate(memory_id, known))
                continue
        twin = _twin(context, message.namespace, new.text) if message.if_new else None
        if twin is not None:
            stored.append(_duplicate(*twin))
            continue
        vectors = _vectors(context, message.namespace, new, f"memories[{index}].")
        if memory_id is None:
            memory_id = given[index].memory_id if index < len(given) else f"?{len(context.changes)}"
            if context.get(key_of(message.namespace, memory_id)) is not None:
                raise AssertionError(f"the daemon gave the memory id {memory_id!r} twice")
        key = key_of(message.namespace, memory_id)
        before = cast(Memory | None, context.get(key))
        version = 1 if before is None else before.version + 1
        memory = Memory(new.text, version, context.time, context.time, context.seq, (context.seq, index))
        context.put(key, memory._replace(vectors=vectors))
        stored.append(messages.MemoryStored(memory_id, version, context.time, context.time))
    return messages.MemoriesStored(tuple(stored))


def _duplicate(memory_id: str, memory: Memory) -> messages.MemoryStored:
    return messages.MemoryStored(memory_id, memory.version, memory.created_at, cast(int, memory.updated_at), True)


def _twin(context: Context, namespace: tuple[str, ...], text: str) -> tuple[str, Memory] | None:
    """Return the memory that says this for longest and is not hidden."""
    same = [
        (key[2], memory)
        for key in context.everything()
        if key[:2] == (int(Kind.MEMORY), namespace)
        and (memory := there(context, key)) is not None
        and memory.text == text
        and not memory.hidden
    ]
    return min(same, key=lambda pair: pair[1].noted) if same else None


def _vectors(context: Context, namespace: tuple[str, ...], new: messages.NewMemory, where: str) -> dict[str, Vector]:
    """Return the vectors told, by their spaces' own names."""
    return space_model.resolved(context, namespace, new.vectors or {}, f"{where}vectors")


def _present(context: Context, key: Key, field: str, if_version: int | None) -> Memory:
    memory = there(context, key)
    if if_version is not None and if_version != (0 if memory is None else memory.version):
        raise Refused(errors.VersionConflict, "if_version")
    if memory is None:
        raise Refused(errors.NotFound, field)
    return memory


def replace(context: Context, message: messages.MemoryReplace, _: object) -> messages.MemoriesStored:
    """Write a memory's next version."""
    new = message.memory
    memory_id = new.memory_id or ""
    key = key_of(message.namespace, memory_id)
    before = _present(context, key, "memory.memory_id", message.if_version)
    vectors = _vectors(context, message.namespace, new, "memory.")
    same = before.text == new.text
    after = before._replace(
        text=new.text,
        version=before.version + 1,
        updated_at=context.time,
        revision=context.seq,
        noted=before.noted if same else (context.seq, 0),
        vectors=before.vectors if new.vectors is None and same else vectors,
    )
    context.put(key, after)
    return messages.MemoriesStored((messages.MemoryStored(memory_id, after.version, before.created_at, context.time),))


def forget(context: Context, message: messages.MemoryForget, _: object) -> messages.MemoryMarked:
    """Forget, or remember again."""
    key = key_of(message.namespace, message.memory_id)
    memory = _present(context, key, "memory_id", message.if_version)
    if (memory.forgotten_at is not None) is message.undo:
        forgotten_at = None if message.undo else context.stamp
        memory = memory._replace(forgotten_at=forgotten_at, updated_at=context.stamp, revision=context.seq)
        context.put(key, memory)
    return messages.MemoryMarked(
        memory.version, cast(int | None, memory.forgotten_at), cast(int | None, memory.superseded_at)
    )


def supersede(context: Context, message: messages.MemorySupersede, _: object) -> messages.MemoryMarked:
    """Let another memory take one's place, unless that would close a circle."""
    key = key_of(message.namespace, message.memory_id)
    memory = _present(context, key, "memory_id", message.if_version)
    _present(context, key_of(message.namespace, message.superseded_by), "superseded_by", None)
    successor = there(context, key_of(message.namespace, message.superseded_by))
    while successor is not None and successor.superseded_by is not None:
        if successor.superseded_by == message.memory_id:
            raise Refused(errors.InvalidArgument, "superseded_by")
        successor = there(context, key_of(message.namespace, successor.superseded_by))
    memory = memory._replace(
        superseded_at=context.stamp,
        superseded_by=message.superseded_by,
        updated_at=context.stamp,
        revision=context.seq,
    )
    context.put(key, memory)
    return messages.MemoryMarked(
        memory.version, cast(int | None, memory.forgotten_at), cast(int | None, memory.superseded_at)
    )


def delete(context: Context, message: messages.MemoryDelete, _: object) -> Deleted:
    """Delete a memory."""
    key = key_of(message.namespace, message.memory_id)
    memory = there(context, key)
    if message.if_version is not None and message.if_version != (0 if memory is None else memory.version):
        raise Refused(errors.VersionConflict, "if_version")
    if memory is None:
        return Deleted(0)
    context.put(key, memory._replace(text=None, version=memory.version + 1, revision=context.seq, vectors={}))
    return Deleted(1)


def embed(context: Context, message: vector_spaces.SpaceEmbed, _: object) -> vector_spaces.Embedded:
    """Give memories a vector; those that have moved on are left alone."""
    name, space = space_model.resolve(context, message.namespace, message.space, "space")
    embedded: list[bool] = []
    for index, given in enumerate(message.vectors):
        if len(given.components) != space_model.COMPONENT_BYTES * space.dimensions:
            raise Refused(errors.InvalidArgument, f"vectors[{index}].components")
        key = key_of(message.namespace, given.memory_id)
        memory = there(context, key)
        embedded.append(memory is not None and memory.version == given.version)
        vector = Vector(space.revision, given.components)
        if memory is not None and embedded[-1] and memory.vectors.get(name) != vector:
            context.put(key, memory._replace(vectors={**memory.vectors, name: vector}, revision=context.seq))
    return vector_spaces.Embedded(tuple(embedded))


def told(memory_id: str, memory: Memory, spaces: Mapping[str, Space]) -> messages.Memory:
    """Return what the daemon says of a memory; a time that is not exactly known stays a `Span`.

    spaces: of its namespace.
    """
    alive = {
        name: vector.components
        for name, vector in memory.vectors.items()
        if name in spaces and spaces[name].revision == vector.incarnation
    }
    return messages.Memory(
        memory_id,
        memory.text or "",
        memory.version,
        memory.created_at,
        cast(int, memory.updated_at),
        memory.revision,
        forgotten_at=cast(int | None, memory.forgotten_at),
        superseded_at=cast(int | None, memory.superseded_at),
        superseded_by=memory.superseded_by,
        vectors=alive,
    )


def counting(memory: messages.Memory) -> messages.Memory:
    """Return a memory as it may be later where accesses are counted: more of them, never fewer."""
    count, last = cast(Any, Span(memory.access_count, _ACCESSES_MAX)), memory.last_accessed
    later: Any = Perhaps(memory.created_at) if last is None else Span(last, _TIME_MAX)
    return structs.replace(memory, access_count=count, last_accessed=later)


OPERATIONS: Final[Operations] = {
    messages.MemoryAdd: add,
    messages.MemoryReplace: replace,
    messages.MemoryForget: forget,
    messages.MemorySupersede: supersede,
    messages.MemoryDelete: delete,
    vector_spaces.SpaceEmbed: embed,
}
