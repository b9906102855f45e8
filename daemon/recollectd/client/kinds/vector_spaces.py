"""Calls about vector spaces."""

from __future__ import annotations

from typing import Literal, TypeAlias

from recollectd.client.arguments import name, whole
from recollectd.client.calls import Call, Calls, Style, ask, operation, query
from recollectd.client.kinds.common import any_deleted
from recollectd.client.results import VectorSpace
from recollectd.client.times import iso_time
from recollectd.protocol import limits
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages.connection import Done

# Inside the class `list` is one of its methods.
VectorSpaceList: TypeAlias = list[VectorSpace]


class VectorSpaces(Calls[Style]):
    """Vector spaces of a namespace: each with dimensions, a metric, a precision and the name of a model."""

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
        request = messages.SpaceCreate(
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
        return ask(messages.SpaceList(self.namespace), _spaces)

    @operation
    def alias(self, alias: str, space: str) -> Call[None]:
        """Let a name stand for a space from now on, whatever it stood for (AlreadyExists if it is a space itself)."""
        request = messages.SpaceAlias(
            self.namespace,
            name(alias, "name", limits.LABEL_BYTES_MAX),
            name(space, "alias_of", limits.LABEL_BYTES_MAX),
        )
        return ask(request, _done)

    @operation
    def drop(self, space: str) -> Call[bool]:
        """Drop a space with all its vectors, or an alias; return whether there was one."""
        return ask(messages.SpaceDrop(self.namespace, name(space, "name", limits.LABEL_BYTES_MAX)), any_deleted)


def _spaces(reply: messages.Spaces) -> VectorSpaceList:
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
