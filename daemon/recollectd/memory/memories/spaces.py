"""Vector spaces: created by name, referred to by name or alias."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from recollectd.memory.kind import Draft, Facts, Fetch, Reading, ReadOperation, Rows, View, WriteOperation
from recollectd.memory.memories.checks import METRICS, PRECISIONS, check_dimensions
from recollectd.memory.memories.events import SpaceDropped, SpaceSet
from recollectd.memory.memories.heads import SpaceHead, StoredVector, beside, decode_space
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import memories as messages
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
        head: SpaceHead | None = draft.get(beside(key, Kind.VECTOR_SPACE, name.encode()))
        if head is not None and head.alias_of:
            name = head.alias_of  # the name it stands for
            aliased = beside(key, Kind.VECTOR_SPACE, name.encode())
            head = draft.get(aliased) if draft.knows(aliased) else None
        if head is None:
            raise errors.NotFound("there is no such vector space; create it first", field=where)
        check_dimensions(components, head, where)
        if name in found:
            raise errors.InvalidArgument("names a space that another name stands for as well", field=where)
        found[name] = StoredVector(head.incarnation, components)
    return found


class Create(WriteOperation[messages.SpaceCreate]):
    """Creates a vector space."""

    __slots__ = ("_key",)

    def __init__(self, request: messages.SpaceCreate) -> None:
        super().__init__(request)
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


class Alias(WriteOperation[messages.SpaceAlias]):
    """Lets a name stand for a space."""

    __slots__ = ("_key", "_target")

    def __init__(self, request: messages.SpaceAlias) -> None:
        super().__init__(request)
        self._key = space_key(request.namespace, request.name)
        self._target = space_key(request.namespace, request.alias_of, "alias_of")
        self.keys = (self._key, self._target)

    def write(self, draft: Draft) -> Done:
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
        return Done()


class Drop(WriteOperation[messages.SpaceDrop]):
    """Drops a vector space or an alias."""

    __slots__ = ("_key",)
    frees = True

    def __init__(self, request: messages.SpaceDrop) -> None:
        super().__init__(request)
        self._key = space_key(request.namespace, request.name)
        self.keys = (self._key,)

    def write(self, draft: Draft) -> Deleted:
        """Drop it if it is there."""
        if draft.get(self._key) is None:
            return Deleted(0)
        draft.put(self._key, None)
        draft.emit(SpaceDropped(self._key))
        return Deleted(1)


class ListSpaces(ReadOperation[messages.SpaceList]):
    """Lists the spaces of a namespace."""

    __slots__ = ("_prefix",)

    def __init__(self, request: messages.SpaceList) -> None:
        super().__init__(request)
        self._prefix = kind_prefix(Kind.VECTOR_SPACE, request.namespace)
        self.keys = None

    def read(self, view: View) -> Reading:
        """Walk their heads: there are few."""
        yield from ()
        found = [
            messages.Space(
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
        return messages.Spaces(tuple(found))


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
