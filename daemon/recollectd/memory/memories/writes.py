"""Requests that change memories, turned into events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Raw, structs

from recollectd.memory.kind import NEVER, Draft, Facts, WriteOperation
from recollectd.memory.memories import keeping, spaces
from recollectd.memory.memories.checks import check_memory
from recollectd.memory.memories.events import MemoryAccessed, MemoryHidden, MemoryRemoved, MemoryWritten
from recollectd.memory.memories.heads import (
    MemoryBody,
    MemoryHead,
    body_of,
    memory_key,
    pack_vectors,
    text_digest,
    text_key,
    thread_key,
)
from recollectd.memory.state.writes import check_version, end_of_life, first_kept, optional_time
from recollectd.protocol import errors, limits, table
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages.connection import Deleted

# A row of vectors without any, told by `vectors={}`, is none.
_NO_VECTORS: Final = Raw(b"\x80")


def settle_expiry(draft: Draft, key: bytes) -> MemoryHead | None:
    """Return the memory's head, an expiry that has come made an event first, so that history is whole."""
    head: MemoryHead | None = draft.get(key)
    if head is None or head.deleted or head.alive(draft.time):
        return head
    return remove(draft, key, head, expired=True)


def remove(draft: Draft, key: bytes, head: MemoryHead, *, expired: bool = False) -> MemoryHead:
    """Add the version that says the memory is gone; return the new head."""
    gone = structs.replace(
        head,
        version=head.version + 1,
        first_version=first_kept(draft, key, head),
        revision=draft.seq,
        updated_at=head.expires_at if expired else draft.time,
        expires_at=NEVER,
        ttl_us=0,
        deleted=True,
        vectors=False,
    )
    keeping.drop_text(draft, key, head.digest)
    draft.put(key, gone)
    draft.emit(MemoryRemoved(key, gone, expired, head.expires_at, head.first_version))
    return gone


def note_access(draft: Draft, key: bytes) -> None:
    """Count that a memory was found, if it is there."""
    head: MemoryHead | None = draft.get(key)
    if head is not None and head.alive(draft.time):
        found = structs.replace(head, access_count=head.access_count + 1, last_accessed=draft.time)
        draft.put(key, found)
        draft.emit(MemoryAccessed(key, found))


class _Writing:
    """One memory to write, checked: what it will be under a key."""

    __slots__ = ("body", "digest", "largest", "new")

    def __init__(self, new: messages.NewMemory, where: str) -> None:
        self.largest = check_memory(new, where)
        self.new = new
        self.digest = text_digest(new.text)
        self.body = body_of(new)

    def needs(self, key: bytes, facts: Facts) -> list[bytes]:
        """Return the rows that writing it under a key takes."""
        needed = [key, text_key(key, self.digest)]
        if self.new.conversation_id is not None:
            needed.append(thread_key(key, self.new.conversation_id))
        needed += spaces.needs(key, self.new.vectors, facts)
        return needed

    def vectors(self, draft: Draft, key: bytes, where: str) -> Raw | None:
        """Return the row of its vectors, None where it tells none."""
        if self.new.vectors is None:
            return None
        return pack_vectors(spaces.resolve(draft, key, self.new.vectors, f"{where}vectors"))


def _stored(memory_id: str, head: MemoryHead, *, duplicate: bool = False) -> messages.MemoryStored:
    return messages.MemoryStored(memory_id, head.version, head.created_at, head.updated_at, duplicate)


def write(
    draft: Draft,
    key: bytes,
    writing: _Writing,
    before: MemoryHead | None,
    vectors: Raw | None,
    body: MemoryBody,
    expiry: tuple[int, int] | None = None,
) -> MemoryHead:
    """Write a memory's next version, or its first; return the new head. expiry: its end and time to live, as before."""
    expires_at, ttl_us = expiry or (end_of_life(draft.time, writing.new.ttl_us), writing.new.ttl_us or 0)
    present = before is not None and not before.deleted
    thread, position = "", 0
    if before is not None and present:
        thread, position = before.thread, before.position
        if before.digest != writing.digest:
            keeping.drop_text(draft, key, before.digest)
            keeping.note_text(draft, key, writing.digest)
    else:
        thread = writing.new.conversation_id or ""
        position = keeping.next_position(draft, key, thread) if thread else 0
        keeping.note_text(draft, key, writing.digest)
    # A new text has no vectors but those told with it.
    kept = before is not None and present and vectors is None and before.digest == writing.digest and before.vectors
    head = MemoryHead(
        1 if before is None else before.version + 1,
        1 if before is None else first_kept(draft, key, before),
        draft.seq,
        before.created_at if before is not None and present else draft.time,
        draft.time,
        expires_at,
        ttl_us,
        largest=max(writing.largest, 0 if before is None else before.largest),
        thread=thread,
        position=position,
        digest=writing.digest,
        forgotten_at=before.forgotten_at if before is not None and present else 0,
        superseded_at=before.superseded_at if before is not None and present else 0,
        superseded_by=before.superseded_by if before is not None and present else "",
        vectors=bool(kept) or (vectors is not None and vectors != _NO_VECTORS),
        access_count=before.access_count if before is not None and present else 0,
        last_accessed=before.last_accessed if before is not None and present else 0,
    )
    draft.put(key, head)
    draft.emit(
        MemoryWritten(
            key,
            head,
            Raw(table.encode(body)),
            None if vectors == _NO_VECTORS else vectors,
            NEVER if before is None else before.expires_at,
            0 if before is None else before.first_version,
        )
    )
    return head


class Add(WriteOperation[messages.MemoryAdd]):
    """Adds memories."""

    __slots__ = ("_keys", "_writings")

    def __init__(self, request: messages.MemoryAdd) -> None:
        super().__init__(request)
        if not 1 <= len(request.memories) <= limits.OPERATIONS_PER_FRAME_MAX:
            raise errors.InvalidArgument(
                f"must be 1 to {limits.OPERATIONS_PER_FRAME_MAX} memories, not {len(request.memories)}",
                field="memories",
            )
        self._writings: list[_Writing] = []
        self._keys: list[bytes] = []
        for index, memory in enumerate(request.memories):
            where = f"memories[{index}]."
            self._writings.append(_Writing(memory, where))
            self._keys.append(memory_key(request.namespace, memory.memory_id or "x", f"{where}memory_id"))
        given = [key for key, memory in zip(self._keys, request.memories, strict=True) if memory.memory_id is not None]
        if len(set(given)) < len(given):
            raise errors.InvalidArgument("a memory_id is there twice", field="memories")
        self.keys = tuple(given)

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return the rows of every memory; one that gets its id from the daemon has none of its own yet."""
        needed: dict[bytes, None] = {}
        for key, writing in zip(self._keys, self._writings, strict=True):
            own = writing.needs(key, facts)
            if writing.new.memory_id is None:
                own = own[1:]
            else:
                own += keeping.known_text(facts, key)
            needed.update(dict.fromkeys(own))
            if self.request.if_new:
                needed.update(dict.fromkeys(keeping.twins(facts, key, writing.digest)))
        return tuple(needed)

    def write(self, draft: Draft) -> messages.MemoriesStored:
        """Write what is not there."""
        return messages.MemoriesStored(
            tuple(self._add(draft, index, writing) for index, writing in enumerate(self._writings))
        )

    def _add(self, draft: Draft, index: int, writing: _Writing) -> messages.MemoryStored:
        request, where = self.request, f"memories[{index}]."
        memory_id = writing.new.memory_id
        before: MemoryHead | None = None
        if memory_id is not None:
            before = settle_expiry(draft, self._keys[index])
            if before is not None and not before.deleted:
                if request.if_new:
                    return _stored(memory_id, before, duplicate=True)
                raise errors.AlreadyExists("there is a memory with this id", field=f"{where}memory_id")
        if request.if_new:
            twin = keeping.find_twin(draft, self._keys[index], writing.digest)
            if twin is not None:
                return _stored(*twin, duplicate=True)
        if memory_id is None:
            memory_id = draft.draw_id()
        key = memory_key(request.namespace, memory_id)
        vectors = writing.vectors(draft, key, where)
        return _stored(memory_id, write(draft, key, writing, before, vectors, writing.body))


class Replace(WriteOperation[messages.MemoryReplace]):
    """Writes a memory's next version."""

    __slots__ = ("_key", "_writing")

    def __init__(self, request: messages.MemoryReplace) -> None:
        super().__init__(request)
        if request.memory.memory_id is None:
            raise errors.InvalidArgument("must be told", field="memory.memory_id")
        self._key = memory_key(request.namespace, request.memory.memory_id, "memory.memory_id")
        self.keys = (self._key,)
        self._writing = _Writing(request.memory, "memory.")
        if request.keep_expiry and request.memory.ttl_us is not None:
            raise errors.InvalidArgument("cannot go with a time to live", field="keep_expiry")

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return the rows of the new version and, once the head is known, of the text before."""
        return (*self._writing.needs(self._key, facts), *keeping.known_text(facts, self._key))

    def write(self, draft: Draft) -> messages.MemoriesStored:
        """Check the guard, write."""
        check_version(draft, self._key, self.request.if_version)
        before = settle_expiry(draft, self._key)
        if before is None or before.deleted:
            raise errors.NotFound("there is no such memory", field="memory.memory_id")
        vectors = self._writing.vectors(draft, self._key, "memory.")
        body = structs.replace(self._writing.body, conversation_id=before.thread or None)
        expiry = (before.expires_at, before.ttl_us) if self.request.keep_expiry else None
        head = write(draft, self._key, self._writing, before, vectors, body, expiry)
        return messages.MemoriesStored((_stored(self.request.memory.memory_id or "", head),))


class _Marking(WriteOperation[Any]):
    """What hides a memory: its head changes, its contents do not."""

    __slots__ = ("_key", "_keys")

    _keys: tuple[bytes, ...]

    def __init__(self, request: messages.MemoryForget | messages.MemorySupersede) -> None:
        super().__init__(request)
        self._key = memory_key(request.namespace, request.memory_id)
        self.keys = self._keys = (self._key,)

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return the heads and, in case they expire, the texts'."""
        return (*self._keys, *(text for key in self._keys for text in keeping.known_text(facts, key)))

    def _present(self, draft: Draft, key: bytes, field: str) -> MemoryHead:
        head = settle_expiry(draft, key)
        if head is None or head.deleted:
            raise errors.NotFound("there is no such memory", field=field)
        return head

    def _mark(self, draft: Draft, head: MemoryHead) -> messages.MemoryMarked:
        marked = structs.replace(head, revision=draft.seq, updated_at=draft.time)
        draft.put(self._key, marked)
        draft.emit(MemoryHidden(self._key, marked))
        return messages.MemoryMarked(
            marked.version, optional_time(marked.forgotten_at), optional_time(marked.superseded_at)
        )


class Forget(_Marking):
    """Forgets a memory, or remembers it again."""

    __slots__ = ()

    def write(self, draft: Draft) -> messages.MemoryMarked:
        """Note since when; a memory forgotten before keeps its time."""
        request: messages.MemoryForget = self.request
        check_version(draft, self._key, request.if_version)
        head = self._present(draft, self._key, "memory_id")
        if bool(head.forgotten_at) is not request.undo:
            return messages.MemoryMarked(
                head.version, optional_time(head.forgotten_at), optional_time(head.superseded_at)
            )
        return self._mark(draft, structs.replace(head, forgotten_at=0 if request.undo else draft.time))


class Supersede(_Marking):
    """Lets another memory take one's place."""

    __slots__ = ("_other",)

    def __init__(self, request: messages.MemorySupersede) -> None:
        super().__init__(request)
        self._other = memory_key(request.namespace, request.superseded_by, "superseded_by")
        if self._other == self._key:
            raise errors.InvalidArgument("must be another memory", field="superseded_by")
        self.keys = self._keys = (self._key, self._other)

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return also the heads of what took the other's place."""
        return (*super().needs(facts), *keeping.successors(facts, self._other))

    def write(self, draft: Draft) -> messages.MemoryMarked:
        """Note since when, and by which. In a circle each would hide the others, and none would be found."""
        request: messages.MemorySupersede = self.request
        check_version(draft, self._key, request.if_version)
        head = self._present(draft, self._key, "memory_id")
        self._present(draft, self._other, "superseded_by")
        successors = keeping.successors(draft, self._other)
        if self._key in successors:
            raise errors.InvalidArgument(
                "was superseded by this very memory: they would hide each other", field="superseded_by"
            )
        if len(successors) > limits.SUCCESSORS_MAX:
            raise errors.InvalidArgument(
                f"was superseded more than {limits.SUCCESSORS_MAX} times over: name the last", field="superseded_by"
            )
        return self._mark(draft, structs.replace(head, superseded_at=draft.time, superseded_by=request.superseded_by))


class Delete(WriteOperation[messages.MemoryDelete]):
    """Deletes one memory."""

    __slots__ = ("_key",)
    frees = True

    def __init__(self, request: messages.MemoryDelete) -> None:
        super().__init__(request)
        self._key = memory_key(request.namespace, request.memory_id)
        self.keys = (self._key,)

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return the head and, once it is known, the text's."""
        return (self._key, *keeping.known_text(facts, self._key))

    def write(self, draft: Draft) -> Deleted:
        """Check the guard, delete if there is a memory."""
        check_version(draft, self._key, self.request.if_version)
        head = settle_expiry(draft, self._key)
        if head is None or head.deleted:
            return Deleted(0)
        remove(draft, self._key, head)
        return Deleted(1)
