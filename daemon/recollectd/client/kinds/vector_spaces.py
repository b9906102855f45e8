"""Calls about vector spaces."""

from __future__ import annotations

from typing import Literal, TypeAlias

from recollectd.client.arguments import name, whole
from recollectd.client.calls import Call, Calls, Steps, Style, ask, command, operation, query, stepwise
from recollectd.client.embedding import Embedder, Embedding, as_embedding
from recollectd.client.kinds.common import any_deleted
from recollectd.client.reembedding import Progress, Reembedding, count_lacking
from recollectd.client.results import VectorSpace
from recollectd.client.times import iso_time
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import vector_spaces
from recollectd.protocol.messages.connection import Done

# Inside the class `list` is one of its methods.
VectorSpaceList: TypeAlias = list[VectorSpace]


class VectorSpaces(Calls[Style]):
    """Vector spaces of a namespace: each with dimensions, a metric, a precision and the name of a model."""

    embedding: Embedding | None = None
    """What makes vectors of texts, from the client's `embedder`."""

    @operation
    def create(
        self,
        space: str,
        dimensions: int,
        *,
        metric: Literal["cosine", "dot", "l2"] = "cosine",
        precision: Literal["f32", "bf16", "i8"] = "i8",
        model: str = "",
    ) -> Call[None]:
        """Create a space (AlreadyExists if the name is known).

        metric: `cosine`, `dot` (inner product) or `l2` (Euclidean); precision: how the index keeps components, the
        vectors themselves are kept as they are; model: what makes the vectors, for people.
        """
        request = vector_spaces.SpaceCreate(
            self.namespace,
            name(space, "name", limits.LABEL_BYTES_MAX),
            whole(dimensions, "dimensions", least=1, most=limits.VECTOR_DIMENSIONS_MAX),
            metric,
            precision,
            model,
        )
        return ask(request, _done)

    @query
    def list(self) -> Call[VectorSpaceList]:
        """Return the namespace's spaces and aliases, in the order of names."""
        return ask(vector_spaces.SpaceList(self.namespace), _spaces)

    @operation
    def alias(self, alias: str, space: str) -> Call[None]:
        """Let a name stand for a space from now on, whatever it stood for (AlreadyExists if it is a space itself)."""
        request = vector_spaces.SpaceAlias(
            self.namespace,
            name(alias, "name", limits.LABEL_BYTES_MAX),
            name(space, "alias_of", limits.LABEL_BYTES_MAX),
        )
        return ask(request, _done)

    @query
    @stepwise
    def lacking(self, space: str) -> Steps[int]:
        """Return how many memories have no vector in a space, with the messages where those are searched."""
        return (yield from count_lacking(self.namespace, name(space, "space", limits.LABEL_BYTES_MAX)))

    @command
    @stepwise
    def reembed(
        self,
        space: str,
        embedder: Embedder | None = None,
        *,
        alias: str | None = None,
        batch: int = 64,
        progress: Progress | None = None,
    ) -> Steps[int]:
        """Embed the text of every memory that has no vector in a space, and return how many there were.

        So with every message of the namespace's conversations where messages are searched. embedder: makes the vectors,
        the client's own where it is None; batch: how many texts it is given at once; alias: stands for the space once
        nothing lacks a vector there, whatever was added meanwhile: what searches under it finds all or nothing of the
        space; progress: told how many are embedded, and of how many.

        May be broken off at any moment and called again: it goes on with what is missing. Raises NotFound if there is
        no such space, InvalidArgument where the embedder gives vectors of another size, TransactionConflict where
        memories or messages are written without pause and the alias cannot be switched.
        """
        if embedder is None and self.embedding is None:
            raise errors.InvalidArgument("must be told: the client has no embedder", field="embedder")
        target = name(space, "space", limits.LABEL_BYTES_MAX)
        size = whole(batch, "batch", least=1)
        own = self.embedding if embedder is None else as_embedding(Embedding(embedder, target, size))
        if alias is not None:
            name(alias, "alias", limits.LABEL_BYTES_MAX)
        assert own is not None
        return Reembedding(self.namespace, target, own, progress, apart=self._apart).steps(alias)

    @operation
    def drop(self, space: str) -> Call[bool]:
        """Drop a space with all its vectors, or an alias; return whether there was one."""
        return ask(vector_spaces.SpaceDrop(self.namespace, name(space, "name", limits.LABEL_BYTES_MAX)), any_deleted)


def _spaces(reply: vector_spaces.Spaces) -> VectorSpaceList:
    return [
        VectorSpace(
            each.name,
            0 if each.alias_of else each.dimensions,
            each.metric,
            each.precision,
            each.model,
            iso_time(each.created_at),
            each.alias_of,
        )
        for each in reply.spaces
    ]


def _done(reply: Done) -> None:
    del reply
