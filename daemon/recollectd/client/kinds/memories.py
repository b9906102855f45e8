"""Calls about semantic memories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, cast

from msgspec import UNSET, UnsetType, structs

from recollectd.client.arguments import free_text, name, optional_whole, several, whole
from recollectd.client.calls import (
    Call,
    Steps,
    Style,
    Turn,
    Walk,
    ask,
    command,
    operation,
    query,
    stepwise,
    walk,
)
from recollectd.client.embedding import embedded_first, embedding_steps, lacking_texts, with_vectors
from recollectd.client.kinds.common import WALK_PAGE_ITEMS, any_deleted
from recollectd.client.kinds.searches import Searches
from recollectd.client.memory_records import as_new, memory_of, version_of, wire_memory
from recollectd.client.results import Memory, MemoryPage, MemoryVersion, NewMemory, StoredMemory
from recollectd.client.times import Moment, iso_time
from recollectd.client.vectors import Vector
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages.connection import Counted

# Inside the class `list` is one of its methods.
T = TypeVar("T")
StoredMemories: TypeAlias = list[StoredMemory]
MemoryVersions: TypeAlias = list[MemoryVersion]


class Memories(Searches[Style]):
    """Semantic memories: text with metadata, place, times and vectors; versioned, listed by filter.

    Filters are text, such as `kind == "fact" and metadata.year >= 2020`; the protocol document has the grammar.
    """

    @operation
    def add(
        self,
        text: str,
        *,
        memory_id: str | None = None,
        kind: str = "",
        metadata: Mapping[str, object] | None = None,
        importance: float | None = None,
        pinned: bool = False,
        valid_at: Moment | None = None,
        place: tuple[float, float] | None = None,
        derived_from: Iterable[str] = (),
        conversation_id: str | None = None,
        vectors: Mapping[str, Vector] | None = None,
        ttl: float | None = None,
        if_new: bool = False,
    ) -> Call[StoredMemory]:
        """Add a memory.

        memory_id: the caller's own (AlreadyExists if it is known), else the daemon gives one; kind: what sort of memory
        it is; importance: 0 to 1; pinned: the daemon never drops it; valid_at: when it was true, from the
        year 1; place: latitude
        and longitude in degrees; derived_from: ids of what it was made from; conversation_id: the conversation it was
        said in, whose order is the order of adding; vectors: by vector space (NotFound if there is none with the name);
        ttl: seconds until it is gone; if_new: a memory whose id or very text is there is not written, but named with
        `duplicate`.
        """
        new = NewMemory(
            text,
            memory_id,
            kind,
            cast(Any, metadata),  # whatever was given is refused below, by name
            importance,
            pinned,
            valid_at,
            place,
            cast(Any, derived_from),
            conversation_id,
            cast(Any, vectors),
            ttl,
        )

        return self._add((new,), ("",), if_new, _stored_one)

    @operation
    def add_many(self, memories: Iterable[NewMemory], *, if_new: bool = False) -> Call[StoredMemories]:
        """Add memories, all or none, and return what was stored in order; see `add`."""
        given = several(memories, "memories")
        return self._add(given, [f"memories[{index}]." for index in range(len(given))], if_new, _stored)

    def _add(
        self,
        given: Sequence[NewMemory],
        where: Sequence[str],
        if_new: bool,
        convert: Callable[[messages.MemoriesStored], T],
    ) -> Call[T]:
        # What is to be refused is refused before it is embedded, and what can be looked at once is looked at once.
        wire: Any = tuple(map(wire_memory, given, where))

        def add(vectors: list[Vector]) -> Call[T]:
            made: Any = tuple(with_vectors(self.embedding, wire, vectors))
            return ask(messages.MemoryAdd(self.namespace, made, if_new), convert)

        return embedded_first(self.embedding, lacking_texts(self.embedding, wire), add, apart=self._apart)

    @query
    def get(self, memory_id: str, *, vectors: bool = False) -> Call[Memory | None]:
        """Return a memory, also a forgotten or superseded one, or None. vectors: with its vectors."""
        request = messages.MemoryGet(self.namespace, (name(memory_id, "memory_id"),), vectors)

        def first(reply: messages.Memories) -> Memory | None:
            found = reply.memories[0]
            return None if found is None else memory_of(found)

        return ask(request, first)

    @query
    @stepwise
    def get_many(self, memory_ids: Iterable[str], *, vectors: bool = False) -> Steps[dict[str, Memory]]:
        """Return the memories there are by id, absent ones left out. Together they are no snapshot."""
        wanted = [name(each, f"memory_ids[{index}]") for index, each in enumerate(several(memory_ids, "memory_ids"))]
        found: dict[str, Memory] = {}
        while wanted:
            reply: messages.Memories = yield messages.MemoryGet(self.namespace, tuple(wanted), vectors)
            found.update((each.memory_id, memory_of(each)) for each in reply.memories if each is not None)
            if not reply.memories:
                raise errors.InvalidMessage("the daemon answered with none of the memories asked", field="memories")
            wanted = wanted[len(reply.memories) :]
        return found

    @operation
    def replace(
        self, memory: NewMemory, *, if_version: int | None = None, keep_expiry: bool = False
    ) -> Call[StoredMemory]:
        """Write a memory's next version, all fields anew; NotFound if there is none.

        Vectors that are None stay where the text is the same. if_version: only if it is at this version
        (VersionConflict); keep_expiry: it expires when it would have, instead of by the new `ttl`.
        """
        wire = wire_memory(memory, "memory.")
        request = messages.MemoryReplace(self.namespace, wire, optional_whole(if_version, "if_version"), keep_expiry)
        return ask(request, _stored_one)

    @command
    @stepwise
    def update(
        self,
        memory_id: str,
        *,
        text: str | UnsetType = UNSET,
        kind: str | UnsetType = UNSET,
        metadata: Mapping[str, object] | UnsetType | None = UNSET,
        importance: float | UnsetType | None = UNSET,
        pinned: bool | UnsetType = UNSET,
        valid_at: Moment | UnsetType | None = UNSET,
        place: tuple[float, float] | UnsetType | None = UNSET,
        derived_from: Iterable[str] | UnsetType = UNSET,
        vectors: Mapping[str, Vector] | UnsetType | None = UNSET,
        ttl: float | UnsetType | None = UNSET,
        if_version: int | None = None,
    ) -> Steps[StoredMemory]:
        """Change the fields told of a memory and leave the others as they are.

        Raises NotFound, and VersionConflict where somebody changed it between reading and writing, or where it is not
        at `if_version`. In a transaction use `get` and `replace`.
        """
        told: dict[str, Any] = {
            "text": text,
            "kind": kind,
            "metadata": metadata,
            "importance": importance,
            "pinned": pinned,
            "valid_at": valid_at,
            "place": place,
            "derived_from": derived_from,
            "vectors": vectors,
            "ttl": ttl,
        }
        changes = {field: value for field, value in told.items() if value is not UNSET}
        reply: messages.Memories = yield messages.MemoryGet(self.namespace, (name(memory_id, "memory_id"),))
        found = reply.memories[0]
        if found is None:
            raise errors.NotFound("there is no such memory", field="memory_id")
        if if_version is not None and found.version != if_version:
            raise errors.VersionConflict(f"expected version {if_version}, found {found.version}", field="if_version")
        changed: Any = wire_memory(structs.replace(as_new(memory_of(found)), **changes), "")
        if changed.text != found.text:
            texts = lacking_texts(self.embedding, (changed,))
            if self.embedding is not None and texts:
                vectors_made = yield from embedding_steps(self.embedding, texts, apart=self._apart)
                (changed,) = with_vectors(self.embedding, (changed,), vectors_made)
        stored: messages.MemoriesStored = yield messages.MemoryReplace(
            self.namespace, changed, found.version, "ttl" not in changes
        )
        return _stored_one(stored)

    @operation
    def forget(self, memory_id: str, *, if_version: int | None = None) -> Call[str]:
        """Hide a memory from lists and searches without deleting it; return since when. Raises NotFound."""
        return ask(self._forgetting(memory_id, if_version, undo=False), _forgotten_at)

    @operation
    def remember(self, memory_id: str, *, if_version: int | None = None) -> Call[None]:
        """Undo `forget`. Raises NotFound."""
        return ask(self._forgetting(memory_id, if_version, undo=True), _nothing)

    def _forgetting(self, memory_id: str, if_version: int | None, *, undo: bool) -> messages.MemoryForget:
        return messages.MemoryForget(
            self.namespace, name(memory_id, "memory_id"), optional_whole(if_version, "if_version"), undo
        )

    @operation
    def supersede(self, memory_id: str, superseded_by: str, *, if_version: int | None = None) -> Call[str]:
        """Say that another memory took this one's place, which hides it; return since when.

        Raises NotFound, and InvalidArgument where this one took the other's place before: they would hide each other.
        """
        request = messages.MemorySupersede(
            self.namespace,
            name(memory_id, "memory_id"),
            name(superseded_by, "superseded_by"),
            optional_whole(if_version, "if_version"),
        )
        return ask(request, _superseded_at)

    @operation
    def delete(self, memory_id: str, *, if_version: int | None = None) -> Call[bool]:
        """Delete a memory and return whether there was one. Raises VersionConflict if it is at another version."""
        request = messages.MemoryDelete(
            self.namespace, name(memory_id, "memory_id"), optional_whole(if_version, "if_version")
        )
        return ask(request, any_deleted)

    @walk
    def list(
        self,
        filter: str = "",
        *,
        hidden: bool = False,
        limit: int | None = None,
        vectors: bool = False,
        lacking: str = "",
    ) -> Walk[Memory]:
        """Walk the memories that match a filter, in the order of their ids' bytes; no snapshot.

        hidden: also those forgotten or superseded; vectors: with their vectors; lacking: only those without a vector
        in this vector space (NotFound if there is none with the name).
        """
        optional_whole(limit, "limit", least=1)

        def page(cursor: bytes, left: int | None) -> Walk[Memory]:
            def turn(reply: messages.MemoryPage) -> Turn[Memory]:
                found = [memory_of(each) for each in reply.memories]
                remaining = None if left is None else left - len(found)
                more = reply.cursor and remaining != 0
                return Turn(found, page(reply.cursor, remaining) if more else None)

            wanted = WALK_PAGE_ITEMS if left is None else min(WALK_PAGE_ITEMS, left)
            return ask(
                messages.MemoryList(
                    self.namespace, free_text(filter, "filter"), hidden, wanted, cursor, vectors, lacking
                ),
                turn,
            )

        return page(b"", limit)

    @query
    def list_page(
        self,
        filter: str = "",
        *,
        hidden: bool = False,
        limit: int = limits.PAGE_ITEMS_DEFAULT,
        cursor: bytes = b"",
        vectors: bool = False,
    ) -> Call[MemoryPage]:
        """Return up to `limit` memories of a walk and the cursor for the rest; see `list`.

        A page may be short, or even empty, and still have a cursor.
        """
        whole(limit, "limit", least=1, most=limits.PAGE_ITEMS_MAX)
        request = messages.MemoryList(self.namespace, free_text(filter, "filter"), hidden, limit, cursor, vectors)
        return ask(request, lambda reply: MemoryPage([memory_of(each) for each in reply.memories], reply.cursor))

    @query
    @stepwise
    def count(self, filter: str = "", *, hidden: bool = False, lacking: str = "") -> Steps[int]:
        """Count the memories that match a filter; arguments as for `list`. No snapshot."""
        total, cursor = 0, b""
        while True:
            reply: Counted = yield messages.MemoryCount(
                self.namespace, free_text(filter, "filter"), hidden, cursor, lacking
            )
            total, cursor = total + reply.count, reply.cursor
            if not cursor:
                return total

    @query
    @stepwise
    def history(self, memory_id: str, *, limit: int | None = None) -> Steps[MemoryVersions]:
        """Return a memory's versions, newest first, as many as are kept or `limit` of them; without vectors."""
        optional_whole(limit, "limit", least=1)
        versions: MemoryVersions = []
        before: int | None = None
        while True:
            wanted = WALK_PAGE_ITEMS if limit is None else min(WALK_PAGE_ITEMS, limit - len(versions))
            reply: messages.MemoryVersions = yield messages.MemoryHistory(
                self.namespace, name(memory_id, "memory_id"), wanted, before
            )
            versions.extend(map(version_of, reply.versions))
            before = reply.next_before
            if not before or len(versions) == limit:
                return versions


def _stored(reply: messages.MemoriesStored) -> StoredMemories:
    return [
        StoredMemory(
            each.memory_id,
            each.version,
            iso_time(each.created_at),
            iso_time(each.updated_at),
            duplicate=each.duplicate,
        )
        for each in reply.memories
    ]


def _stored_one(reply: messages.MemoriesStored) -> StoredMemory:
    return _stored(reply)[0]


def _forgotten_at(reply: messages.MemoryMarked) -> str:
    return iso_time(reply.forgotten_at or 0)


def _superseded_at(reply: messages.MemoryMarked) -> str:
    return iso_time(reply.superseded_at or 0)


def _nothing(reply: messages.MemoryMarked) -> None:
    del reply
