"""Putting items: records and the vectors of their texts in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from langgraph.store.base import PutOp

from recollectd.adapters.langgraph import nearest
from recollectd.adapters.langgraph.names import Namespace
from recollectd.adapters.langgraph.steps import Ask, Commit, Steps
from recollectd.adapters.langgraph.vectors import Embedding
from recollectd.client import NewMemory
from recollectd.client.results import Record
from recollectd.protocol import errors, limits


class Puts:
    """Puts items below one namespace."""

    def __init__(self, base: Namespace) -> None:
        self._base = base
        self._spaces: set[Namespace] = set()
        """Namespaces known to have the vector space."""

    def put(self, puts: Sequence[PutOp], embedding: Embedding) -> Steps[None]:
        """Put and delete items, of equal places the last. Raises ValueError and TypeError for what cannot be stored."""
        last = list({(op.namespace, str(op.key)): op for op in puts}.values())
        for some in _commits(last, embedding):
            try:
                yield from self._commit(some, embedding)
            except errors.InvalidArgument as error:
                raise ValueError(f"the batch cannot be stored: {error}") from error

    def _commit(self, puts: Sequence[PutOp], embedding: Embedding) -> Steps[None]:
        commit = Commit((), self._before(puts, embedding), self._writer(puts, embedding))
        yield from self._embedded(puts, embedding)
        try:
            yield commit
        except errors.NotFound:
            if not self._spaces:
                raise
            self._spaces.clear()  # somebody dropped what was known to be there
            yield from self._embedded(puts, embedding)
            yield commit

    def _embedded(self, puts: Sequence[PutOp], embedding: Embedding) -> Steps[None]:
        """Have the namespaces of what has vectors have their space."""
        if embedding.index is None:
            return
        new = {op.namespace for op in puts if embedding.of(op)} - self._spaces
        yield from nearest.spaces(self._base, new, embedding.index.dims)
        self._spaces |= new

    def _before(self, puts: Sequence[PutOp], embedding: Embedding) -> list[Ask]:
        """Return guarded reads, for each namespace: of the items that are there, and of vectors of those names."""
        if embedding.index is None:
            return []
        asks: list[Ask] = []
        for namespace, some in _by_namespace(puts).items():
            where = (*self._base, *namespace)
            counts = [max(1, len(embedding.of(op))) for op in some]  # no names at all cannot be asked for
            names = [
                name
                for op, count in zip(some, counts, strict=True)
                for name in nearest.names_of(str(op.key), range(count))
            ]
            asks.append(partial(_get_records, namespace=where, keys=[str(op.key) for op in some]))
            asks.append(partial(_get_memories, namespace=where, names=names))
        return asks

    def _writer(self, puts: Sequence[PutOp], embedding: Embedding) -> Callable[[Any, list[list[Any]], list[Any]], None]:
        def write(transaction: Any, _: list[list[Any]], before: list[Any]) -> None:
            for index, (namespace, some) in enumerate(_by_namespace(puts).items()):
                view = transaction.with_namespace(*self._base, *namespace)
                for op in some:
                    _write_item(view.state, op, len(embedding.of(op)))
                if before:
                    items, known = before[2 * index : 2 * index + 2]
                    _write_vectors(view.memories, some, embedding, items, known)

        return write


def _commits(puts: Sequence[PutOp], embedding: Embedding) -> Iterator[list[PutOp]]:
    """Yield as many items at a time as one transaction takes with their vectors."""
    some: list[PutOp] = []
    records = 0
    for op in puts:
        more = 1 if embedding.index is None else 2 + 2 * len(embedding.of(op))
        if some and records + more > limits.OPERATIONS_PER_FRAME_MAX:
            yield some
            some, records = [], 0
        some.append(op)
        records += more
    if some:
        yield some


def _by_namespace(puts: Iterable[PutOp]) -> dict[Namespace, list[PutOp]]:
    found: dict[Namespace, list[PutOp]] = {}
    for op in puts:
        found.setdefault(op.namespace, []).append(op)
    return found


def _ttl_s(op: PutOp) -> float | None:
    return None if op.ttl is None else float(op.ttl) * 60


def _write_item(state: Any, op: PutOp, vectors: int) -> None:
    if op.value is None:
        state.delete(str(op.key))
        return
    stored: dict[str, Any] = {"value": op.value}
    if op.ttl is not None:
        stored["ttl_s"] = _ttl_s(op)
    if vectors:
        stored["vectors"] = vectors
    try:
        state.put(str(op.key), stored, ttl=_ttl_s(op))
    except errors.InvalidArgument as error:
        raise TypeError(f"the value of {op.key!r} cannot be stored: {error.message}") from error


def _write_vectors(
    memories: Any, puts: Sequence[PutOp], embedding: Embedding, items: dict[str, Record], known: dict[str, Any]
) -> None:
    new: list[NewMemory] = []
    for op in puts:
        key, vectors = str(op.key), embedding.of(op)
        for name in nearest.names_of(key, range(len(vectors), nearest.count_of(items.get(key)))):
            memories.delete(name)
        for memory in nearest.memories_of(key, vectors, _ttl_s(op)):
            if memory.memory_id in known:
                memories.replace(memory)
            else:
                new.append(memory)
    if new:
        memories.add_many(new)


def _get_records(face: Any, *, namespace: Namespace, keys: list[str]) -> Any:
    return face.with_namespace(*namespace).state.get_many(keys)


def _get_memories(face: Any, *, namespace: Namespace, names: list[str]) -> Any:
    return face.with_namespace(*namespace).memories.get_many(names)
