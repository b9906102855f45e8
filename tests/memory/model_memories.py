"""A plain model of memories and vector spaces: what a namespace holds after each commit."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from recollectd.protocol import errors
from recollectd.protocol.messages import connection, transactions, vector_spaces
from recollectd.protocol.messages import memories as messages


@dataclass
class Kept:
    """A memory with its versions, newest last; a text of None: absent."""

    versions: list[str | None] = field(default_factory=list)
    vectors: dict[tuple[str, int], bytes] = field(default_factory=dict)
    thread: str = ""
    position: int = 0
    expires_at: int | None = None
    forgotten: bool = False
    superseded_by: str | None = None

    def alive(self, time: int) -> bool:
        return bool(self.versions) and self.versions[-1] is not None and not self.over(time)

    def over(self, time: int) -> bool:
        return self.expires_at is not None and time >= self.expires_at


@dataclass
class Model:
    """What the namespace holds after a commit. order: ids in the order in which their texts came to be."""

    kept: dict[str, Kept] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    threads: dict[str, int] = field(default_factory=dict)
    spaces: dict[str, tuple[int, int]] = field(default_factory=dict)  # dimensions, incarnation
    aliases: dict[str, str] = field(default_factory=dict)

    def after(self, request: Any, seq: int, time: int, drawn: list[Any]) -> tuple[Model, Any]:
        following = deepcopy(self)
        try:
            return following, following._carry_out(request, seq, time, drawn)
        except errors.RequestError as refused:
            return self, (type(refused), refused.field)

    def _carry_out(self, request: Any, seq: int, time: int, drawn: list[Any]) -> Any:
        if isinstance(request, transactions.Transaction | transactions.Batch):
            results = []
            for index, operation in enumerate(request.operations):
                before = deepcopy(self.__dict__)
                try:
                    own = drawn[index] if drawn else []
                    results.append(self._carry_out(operation, seq, time, own))
                except errors.RequestError as refused:
                    refused.field = f"operations[{index}].{refused.field}"
                    if isinstance(request, transactions.Transaction):
                        raise
                    self.__dict__.update(before)
                    results.append((type(refused), refused.field))
            return results
        name = f"_{type(request).__name__}"
        return getattr(self, name)(request, seq, time, drawn)

    def _settle(self, memory_id: str, time: int) -> Kept | None:
        kept = self.kept.get(memory_id)
        if kept is not None and kept.versions[-1] is not None and kept.over(time):
            self._remove(memory_id, kept)
        return kept

    def _remove(self, memory_id: str, kept: Kept) -> None:
        kept.versions.append(None)
        kept.vectors, kept.expires_at = {}, None
        self.order.remove(memory_id)

    def _version(self, memory_id: str, if_version: int | None, time: int) -> None:
        kept = self.kept.get(memory_id)
        version = len(kept.versions) if kept is not None and kept.alive(time) else 0
        if if_version not in (None, version):
            raise errors.VersionConflict(field="if_version")

    def _resolved(self, vectors: dict[str, bytes] | None, where: str) -> dict[tuple[str, int], bytes]:
        found: dict[tuple[str, int], bytes] = {}
        for told, components in (vectors or {}).items():
            name = self.aliases.get(told, told)
            if name not in self.spaces:
                raise errors.NotFound(field=f"{where}vectors[{told!r}]")
            dimensions, incarnation = self.spaces[name]
            if len(components) != 4 * dimensions or (name, incarnation) in found:
                raise errors.InvalidArgument(field=f"{where}vectors[{told!r}]")
            found[name, incarnation] = components
        return found

    def _MemoryAdd(self, request: messages.MemoryAdd, seq: int, time: int, drawn: list[Any]) -> Any:
        return [
            self._add(new, request.if_new, f"memories[{n}].", time, drawn) for n, new in enumerate(request.memories)
        ]

    def _add(self, new: messages.NewMemory, if_new: bool, where: str, time: int, drawn: list[Any]) -> Any:
        if new.memory_id is not None:
            there = self._settle(new.memory_id, time)
            if there is not None and there.alive(time):
                if if_new:
                    return new.memory_id, len(there.versions), True
                raise errors.AlreadyExists(field=f"{where}memory_id")
        if if_new:
            for memory_id in self.order:
                twin = self.kept[memory_id]
                hidden = twin.forgotten or twin.superseded_by is not None
                if twin.versions[-1] == new.text and twin.alive(time) and not hidden:
                    return memory_id, len(twin.versions), True
        vectors = self._resolved(new.vectors, where)
        memory_id = new.memory_id if new.memory_id is not None else drawn.pop(0) if drawn else "of a write refused"
        before = self.kept.get(memory_id)
        kept = self.kept[memory_id] = Kept([] if before is None else before.versions)
        if new.conversation_id is not None:
            kept.thread, kept.position = new.conversation_id, self.threads.get(new.conversation_id, 0)
            self.threads[new.conversation_id] = kept.position + 1
        self._write(memory_id, new, vectors, time)
        self.order.append(memory_id)
        return memory_id, len(kept.versions), False

    def _write(self, memory_id: str, new: messages.NewMemory, vectors: dict[tuple[str, int], bytes], time: int) -> None:
        kept = self.kept[memory_id]
        same = bool(kept.versions) and kept.versions[-1] == new.text
        if new.vectors is not None or not same:
            kept.vectors = vectors
        kept.versions.append(new.text)
        kept.expires_at = None if new.ttl_us is None else time + new.ttl_us

    def _MemoryReplace(self, request: messages.MemoryReplace, seq: int, time: int, drawn: list[Any]) -> Any:
        memory_id = request.memory.memory_id or ""
        self._version(memory_id, request.if_version, time)
        kept = self._settle(memory_id, time)
        if kept is None or kept.versions[-1] is None:
            raise errors.NotFound(field="memory.memory_id")
        vectors = self._resolved(request.memory.vectors, "memory.")
        ends = kept.expires_at
        if kept.versions[-1] != request.memory.text:
            self.order.remove(memory_id)
            self.order.append(memory_id)
        self._write(memory_id, request.memory, vectors, time)
        if request.keep_expiry:
            kept.expires_at = ends
        return [(memory_id, len(kept.versions), False)]

    def _present(self, memory_id: str, field: str, time: int) -> Kept:
        kept = self._settle(memory_id, time)
        if kept is None or kept.versions[-1] is None:
            raise errors.NotFound(field=field)
        return kept

    def _MemoryForget(self, request: messages.MemoryForget, seq: int, time: int, drawn: list[Any]) -> Any:
        self._version(request.memory_id, request.if_version, time)
        kept = self._present(request.memory_id, "memory_id", time)
        kept.forgotten = not request.undo
        return len(kept.versions)

    def _MemorySupersede(self, request: messages.MemorySupersede, seq: int, time: int, drawn: list[Any]) -> Any:
        self._version(request.memory_id, request.if_version, time)
        kept = self._present(request.memory_id, "memory_id", time)
        self._present(request.superseded_by, "superseded_by", time)
        kept.superseded_by = request.superseded_by
        return len(kept.versions)

    def _MemoryDelete(self, request: messages.MemoryDelete, seq: int, time: int, drawn: list[Any]) -> Any:
        self._version(request.memory_id, request.if_version, time)
        kept = self._settle(request.memory_id, time)
        if kept is None or kept.versions[-1] is None:
            return 0
        self._remove(request.memory_id, kept)
        return 1

    def _SpaceCreate(self, request: vector_spaces.SpaceCreate, seq: int, time: int, drawn: list[Any]) -> Any:
        if request.name in self.spaces or request.name in self.aliases:
            raise errors.AlreadyExists(field="name")
        self.spaces[request.name] = request.dimensions, seq

    def _SpaceAlias(self, request: vector_spaces.SpaceAlias, seq: int, time: int, drawn: list[Any]) -> Any:
        if request.name in self.spaces:
            raise errors.AlreadyExists(field="name")
        if request.alias_of not in self.spaces:
            raise errors.NotFound(field="alias_of")
        self.aliases[request.name] = request.alias_of

    def _SpaceEmbed(self, request: vector_spaces.SpaceEmbed, seq: int, time: int, drawn: list[Any]) -> Any:
        name = self.aliases.get(request.space, request.space)
        if name not in self.spaces:
            raise errors.NotFound(field="space")
        dimensions, incarnation = self.spaces[name]
        done = []
        for index, given in enumerate(request.vectors):
            if len(given.components) != 4 * dimensions:
                raise errors.InvalidArgument(field=f"vectors[{index}].components")
            kept = self.kept.get(given.memory_id)
            fits = kept is not None and kept.alive(time) and len(kept.versions) == given.version
            if fits and kept is not None:
                kept.vectors[name, incarnation] = given.components
            done.append(fits)
        return done

    def told_vectors(self, kept: Kept) -> dict[str, bytes]:
        """Return the vectors of spaces that are there."""
        there = {(name, incarnation) for name, (_, incarnation) in self.spaces.items()}
        return {space[0]: components for space, components in kept.vectors.items() if space in there}

    def _SpaceDrop(self, request: vector_spaces.SpaceDrop, seq: int, time: int, drawn: list[Any]) -> Any:
        if request.name in self.spaces and self.spaces[request.name][1] == seq:
            raise errors.InvalidArgument(field="name")
        return int(self.spaces.pop(request.name, None) is not None or self.aliases.pop(request.name, None) is not None)


def outcome(reply: Any) -> Any:
    """Return what of a reply the model foretells."""
    match reply:
        case connection.ErrorReply():
            return errors.ERROR_BY_CODE[reply.code], reply.field
        case transactions.Results():
            return [outcome(each) for each in reply.results]
        case messages.MemoriesStored():
            return [(each.memory_id, each.version, each.duplicate) for each in reply.memories]
        case messages.MemoryMarked():
            return reply.version
        case connection.Deleted():
            return reply.deleted
        case vector_spaces.Embedded():
            return list(reply.embedded)
    return None


def drawn_ids(request: Any, reply: Any) -> list[Any]:
    """Return the ids that the store drew, in order; a list for each of several operations."""
    if isinstance(reply, transactions.Results):
        return [drawn_ids(*pair) for pair in zip(request.operations, reply.results, strict=True)]
    if not isinstance(reply, messages.MemoriesStored) or not isinstance(request, messages.MemoryAdd):
        return []
    pairs = zip(request.memories, reply.memories, strict=True)
    return [stored.memory_id for new, stored in pairs if new.memory_id is None and not stored.duplicate]
