"""Vectors of texts, made by a callable of the caller's: the daemon itself has no model.

    Client(embedder=Embedding(SentenceTransformer("all-MiniLM-L6-v2").encode, space="mini"))

An embedder is any callable that takes a list of texts and returns as many vectors, such as the `encode` of
sentence-transformers; `openai_like` makes one of a client for an embeddings API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct, structs

from recollectd.client.results import NewMemory
from recollectd.client.vectors import Vector
from recollectd.protocol import errors

Embedder: TypeAlias = Callable[[list[str]], Iterable[Any]]
SPACE_DEFAULT = "default"


class Embedding(Struct, frozen=True):
    """An embedder and the vector space that its vectors belong to, which must be created before.

    batch: how many texts it is given at most at once.
    """

    embedder: Embedder
    space: str = SPACE_DEFAULT
    batch: int = 64


def as_embedding(given: Embedder | Embedding | None) -> Embedding | None:
    """Return an embedder with its space; a bare callable belongs to the space `default`."""
    return given if given is None or isinstance(given, Embedding) else Embedding(given)


def openai_like(client: Any, model: str) -> Embedder:
    """Return an embedder that asks `client.embeddings.create(model=..., input=[...])`."""

    def embed(texts: list[str]) -> list[Sequence[float]]:
        return [each.embedding for each in client.embeddings.create(model=model, input=texts).data]

    return embed


def embed(embedding: Embedding, texts: Sequence[str]) -> list[Vector]:
    """Return a vector for each text. Raises InvalidArgument where the embedder gives another number of them."""
    vectors: list[Vector] = []
    for start in range(0, len(texts), embedding.batch):
        batch = list(texts[start : start + embedding.batch])
        made = list(embedding.embedder(batch))
        if len(made) != len(batch):
            raise errors.InvalidArgument(f"gave {len(made)} vectors for {len(batch)} texts", field="embedder")
        vectors += made
    return vectors


def embed_query(embedding: Embedding, text: str) -> Mapping[str, Vector]:
    """Return the vector of a query by its space."""
    return {embedding.space: embed(embedding, [text])[0]}


def embedded(embedding: Embedding | None, memories: Sequence[NewMemory]) -> Sequence[NewMemory]:
    """Return memories with a vector of the embedder's where none was told for its space."""
    if embedding is None:
        return memories
    lacking = [each for each in memories if embedding.space not in (each.vectors or {})]
    made = iter(embed(embedding, [each.text for each in lacking]))
    return [
        structs.replace(each, vectors={**(each.vectors or {}), embedding.space: next(made)})
        if embedding.space not in (each.vectors or {})
        else each
        for each in memories
    ]
