"""Vector spaces: created by name, referred to by name or alias."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import Any

from recollectd.memory.kind import Draft, Facts, Fetch, Reading, ReadOperation, Rows, View, WriteOperation
from recollectd.memory.memories.checks import METRICS, OTHER_ARMS, PRECISIONS, check_dimensions
from recollectd.memory.memories.events import SpaceDropped, SpaceSet, SpaceSwept
from recollectd.memory.memories.heads import (
    DroppedSpaceHead,
    SpaceHead,
    StoredVector,
    beside,
    decode_space,
    dropped_space_key,
)
from recollectd.memory.settings.search import SearchHead, settings_key
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import vector_spaces
from recollectd.protocol.messages.connection import Deleted, Done
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import Family, after_prefix, kind_prefix, split_record_key, text_bytes


def space_key(namespace: tuple[str, ...], name: str, field: str = "name") -> bytes:
    """Return the record key of a space. Raises InvalidArgument naming the field at fault."""
    return kind_prefix(Kind.VECTOR_SPACE, namespace) + text_bytes(name, field, limits.LABEL_BYTES_MAX)


def needs(key: bytes, vectors: Mapping[str, bytes] | None, facts: Facts) -> list[bytes]:
    """Return the heads of the spaces named beside a memory and, once known, of those they stand for."""
    needed: list[bytes] = []
    for name in vectors or ():
        row = beside(key, Kind.VECTOR_SPACE, name.encode())
        needed.append(row)
        head: SpaceHead | None = facts.get(row) if facts.knows(row) else None
        if head is not None and head.alias_of:
            needed.append(beside(key, Kind.VECTOR_SPACE, head.alias_of.encode()))
    return needed


def resolve(draft: Draft, key: bytes, vectors: Mapping[str, bytes], field: str) -> dict[str, StoredVector]:
    """Return vectors by the space's own name. Refuses spaces that are not there, and vectors of another size."""
    found: dict[str, StoredVector] = {}
    for name, components in vectors.items():
        where = f"{field}[{name!r}]"
        name, head = resolve_name(draft, key, name, where)
        check_dimensions(components, head, where)
        if name in found:
            raise errors.InvalidArgument("names a space that another name stands for as well", field=where)
        found[name] = StoredVector(head.incarnation, components)
    return found


def resolve_name(draft: Draft, key: bytes, name: str, field: str) -> tuple[str, SpaceHead]:
    """Return a space's own name and head, through an alias if need be. Refuses one that is not there."""
    head: SpaceHead | None = draft.get(beside(key, Kind.VECTOR_SPACE, name.encode()))
    if head is not None and head.alias_of:
        name = head.alias_of
        aliased = beside(key, Kind.VECTOR_SPACE, name.encode())
        head = draft.get(aliased) if draft.knows(aliased) else None
    if head is None or head.alias_of:  # a name stands for a space, and not for what has become a name itself
        raise errors.NotFound("there is no such vector space; create it first", field=field)
    return name, head


def check_name(name: str) -> None:
    """Refuse a name that weights and details of searches have for something else."""
    if name in OTHER_ARMS:
        raise errors.InvalidArgument(f"searches call another arm {name!r}: choose another name", field="name")


class Create(WriteOperation[vector_spaces.SpaceCreate]):
    """Creates a vector space."""

    __slots__ = ("_key",)

    def __init__(self, request: vector_spaces.SpaceCreate) -> None:
        super().__init__(request)
        check_name(request.name)
        self._key = space_key(request.namespace, request.name)
        self.keys = (self._key,)
        text_bytes(request.model, "model", limits.KEY_BYTES_MAX, empty=True)
        for text, allowed, field in (
            (request.metric, METRICS, "metric"),
            (request.precision, PRECISIONS, "precision"),
        ):
            if text not in allowed:
                raise errors.InvalidArgument(f"must be one of {', '.join(allowed)}, not {text!r}", field=field)

    def write(self, draft: Draft) -> Done:
        """Create it if the name is free."""
        request = self.request
        if draft.get(self._key) is not None:
            raise errors.AlreadyExists("there is a vector space, or an alias, with this name", field="name")
        head = SpaceHead(
            request.dimensions,
            request.metric,
            request.precision,
            request.model,
            draft.time,
            draft.seq,
            draft.seq,
        )
        draft.put(self._key, head)
        draft.emit(SpaceSet(self._key, head))
        return Done()


class _Naming(WriteOperation[Any]):
    """What lets a name stand for a space."""

    __slots__ = ("_key", "_target")

    def __init__(self, request: vector_spaces.SpaceAlias | vector_spaces.SpaceSwitch) -> None:
        super().__init__(request)
        check_name(request.name)
        self._key = space_key(request.namespace, request.name)
        self._target = space_key(request.namespace, request.alias_of, "alias_of")
        self.keys = (self._key, self._target)

    def _set(self, draft: Draft) -> None:
        """Set it; a name that is a space of its own cannot stand for another."""
        before: SpaceHead | None = draft.get(self._key)
        if before is not None and not before.alias_of:
            raise errors.AlreadyExists("there is a vector space with this name", field="name")
        target: SpaceHead | None = draft.get(self._target)
        if target is None or target.alias_of:
            raise errors.NotFound("there is no such vector space", field="alias_of")
        head = SpaceHead(0, "", "", "", draft.time, draft.seq, draft.seq, self.request.alias_of)
        draft.put(self._key, head)
        draft.emit(SpaceSet(self._key, head))


class Alias(_Naming):
    """Lets a name stand for a space."""

    __slots__ = ()

    def write(self, draft: Draft) -> Done:
        """Set it."""
        self._set(draft)
        return Done()


class Switch(_Naming):
    """Lets a name stand for a space, if that has every memory's vector still."""

    __slots__ = ()

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return both names, and how the namespace is searched."""
        return self._key, self._target, settings_key(self.request.namespace)

    def write(self, draft: Draft) -> vector_spaces.Switched:
        """Set it unless a memory has changed, or a message that is searched."""
        request: vector_spaces.SpaceSwitch = self.request
        target: SpaceHead | None = draft.get(self._target)
        younger = target is not None and target.revision > request.position  # than what was seen to have every vector
        if younger or any(map(partial(self._changed, draft), self._kinds(draft))):
            return vector_spaces.Switched(False)
        self._set(draft)
        return vector_spaces.Switched(True)

    def _kinds(self, draft: Draft) -> tuple[Kind, ...]:
        """Return the kinds of which nothing may have changed."""
        if not self.request.messages:
            return (Kind.MEMORY,)
        settings: SearchHead | None = draft.get(settings_key(self.request.namespace))
        searched = settings is not None and settings.messages
        return (Kind.MEMORY, Kind.SEARCH_SETTINGS, *((Kind.CONVERSATION,) if searched else ()))

    def _changed(self, draft: Draft, kind: Kind) -> bool:
        return draft.changed_since(kind_prefix(kind, self.request.namespace), self.request.position)


class Drop(WriteOperation[vector_spaces.SpaceDrop]):
    """Drops a vector space or an alias."""

    __slots__ = ("_key",)
    frees = True

    def __init__(self, request: vector_spaces.SpaceDrop) -> None:
        super().__init__(request)
        self._key = space_key(request.namespace, request.name)
        self.keys = (self._key,)

    def write(self, draft: Draft) -> Deleted:
        """Drop it if it is there."""
        head: SpaceHead | None = draft.get(self._key)
        if head is None:
            return Deleted(0)
        if not head.alias_of and head.incarnation == draft.seq:
            # One made again under this name would have the same incarnation, and so the vectors of this one.
            raise errors.InvalidArgument("was created in the same transaction", field="name")
        draft.put(self._key, None)
        draft.emit(SpaceDropped(self._key))
        if not head.alias_of:
            left, row = (
                DroppedSpaceHead(self.request.name, head.incarnation),
                dropped_space_key(self._key, head.incarnation),
            )
            draft.put(row, left)
            draft.emit(SpaceSwept(row, left))
        return Deleted(1)


class ListSpaces(ReadOperation[vector_spaces.SpaceList]):
    """Lists the spaces of a namespace."""

    __slots__ = ("_prefix",)

    def __init__(self, request: vector_spaces.SpaceList) -> None:
        super().__init__(request)
        self._prefix = kind_prefix(Kind.VECTOR_SPACE, request.namespace)
        self.keys = None

    def read(self, view: View) -> Reading:
        """Walk their heads: there are few."""
        yield from ()
        found = [
            vector_spaces.Space(
                split_record_key(key)[2],
                max(1, head.dimensions),
                head.metric,
                head.precision,
                head.model,
                head.created_at,
                head.alias_of,
            )
            for key, head in heads_below(view, self._prefix)
        ]
        return vector_spaces.Spaces(tuple(found))


def living(view: View, key: bytes) -> dict[str, int]:
    """Return the incarnations of the spaces in the namespace of a record key, by name."""
    prefix = beside(key, Kind.VECTOR_SPACE, b"")
    found = ((each[len(prefix) :].decode(), head) for each, head in heads_below(view, prefix))
    return {name: head.incarnation for name, head in found if not head.alias_of}


def heads_below(view: View, prefix: bytes) -> list[tuple[bytes, SpaceHead]]:
    """Return the heads of all spaces of a namespace."""
    rows = view.walk(Family.HEADS, prefix, after_prefix(prefix), keys_max=limits.PAGE_ITEMS_MAX)
    return [(key, decode_space(row)) for key, row in rows]


def fetch_space(namespace: tuple[str, ...], name: str, field: str) -> Generator[Fetch, Rows, tuple[str, SpaceHead]]:
    """Return a space's own name and head, through an alias if need be. Raises NotFound."""
    for _ in range(2):
        row = (yield Fetch(Family.HEADS, (space_key(namespace, name, field),)))[0]
        head = None if row is None else decode_space(row)
        if head is None:
            break
        if not head.alias_of:
            return name, head
        name = head.alias_of
    raise errors.NotFound("there is no such vector space", field=field)
