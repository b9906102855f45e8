"""Vectors of texts, made by a callable of the caller's: the daemon itself has no model.

    Client(embedder=Embedding(SentenceTransformer("all-MiniLM-L6-v2").encode, space="mini"))

An embedder is any callable that takes a list of texts and returns as many vectors, such as the `encode` of
sentence-transformers; `openai_like` makes one of a client for an embeddings API.

The asyncio client never lets its loop wait for one: a coroutine function is awaited, any other callable runs in a
worker thread, so it must not mind in which. In pipelines, batches and transactions a call is collected when it is made;
there the texts are embedded at once, which a coroutine function cannot do (InvalidArgument).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from msgspec import Struct, structs

from recollectd.client.arguments import as_many, awaits, name, whole
from recollectd.client.calls import Call, Steps
from recollectd.client.results import NewMemory, NewMessage
from recollectd.client.vectors import Vector, packed_vector
from recollectd.protocol import errors, limits

if TYPE_CHECKING:
    from recollectd.protocol.messages.fields import Message

T = TypeVar("T")
New = TypeVar("New", NewMemory, NewMessage)

Embedder: TypeAlias = Callable[[list[str]], Iterable[Any] | Awaitable[Iterable[Any]]]
"""Makes a vector of each text. The asyncio client also takes a coroutine function."""
SPACE_DEFAULT = "default"


class Embedding(Struct, frozen=True):
    """An embedder and the vector space that its vectors belong to, which must be created before.

    batch: how many texts it is given at most at once; messages: those appended to conversations are embedded, too, and
    so is the text of searches among messages alone.
    """

    embedder: Embedder
    space: str = SPACE_DEFAULT
    batch: int = 64
    messages: bool = False


def as_embedding(given: Embedder | Embedding | None) -> Embedding | None:
    """Return an embedder with its space; a bare callable belongs to the space `default`. Raises InvalidArgument."""
    if given is None:
        return None
    embedding = given if isinstance(given, Embedding) else Embedding(given)
    if not callable(embedding.embedder):
        raise errors.InvalidArgument(f"must be a callable, not {type(embedding.embedder).__name__}", field="embedder")
    name(embedding.space, "embedder.space", limits.LABEL_BYTES_MAX)
    whole(embedding.batch, "embedder.batch", least=1)
    return embedding


def openai_like(client: Any, model: str) -> Embedder:
    """Return an embedder that asks `client.embeddings.create(model=..., input=[...])`."""

    def embed(texts: list[str]) -> list[Sequence[float]]:
        return [each.embedding for each in client.embeddings.create(model=model, input=texts).data]

    return embed


class Texts(Struct, frozen=True):
    """Texts to be embedded before a call can go on: whoever carries it out makes the vectors, and the loop goes on."""

    embedding: Embedding
    texts: Sequence[str]

    def batches(self) -> Iterator[list[str]]:
        """Return the texts as the embedder is given them."""
        for start in range(0, len(self.texts), self.embedding.batch):
            yield list(self.texts[start : start + self.embedding.batch])


def vectors_of(made: Iterable[Any], batch: Sequence[str]) -> list[Vector]:
    """Return what an embedder made of a batch. Raises InvalidArgument where it is another number of vectors."""
    return as_many(made, len(batch), "vectors", "texts", field="embedder")


def embed(texts: Texts) -> list[Vector]:
    """Return a vector for each text. Raises InvalidArgument for an embedder that can only be awaited."""
    embedder = cast(Callable[[list[str]], Iterable[Any]], texts.embedding.embedder)
    if awaits(embedder):
        raise errors.InvalidArgument(
            "is a coroutine function, which calls of the asyncio client alone await, outside pipelines, batches and"
            " transactions",
            field="embedder",
        )
    return [vector for batch in texts.batches() for vector in vectors_of(embedder(batch), batch)]


def embedding_steps(embedding: Embedding, texts: Sequence[str], *, apart: bool) -> Steps[list[Vector]]:
    """Return a vector for each text. apart: made by whoever carries the call out, else here and now."""
    wanted = Texts(embedding, texts)
    if not (apart and texts):
        return embed(wanted)
    made: list[Vector] = yield cast("Message", wanted)  # no face but one that embeds apart is ever given it
    return made


def embedded_first(
    embedding: Embedding | None, texts: Sequence[str], then: Callable[[list[Vector]], Call[T]], *, apart: bool
) -> Call[T]:
    """Return the call that `then` makes of the texts' vectors."""
    if embedding is None or not texts:
        return then([])
    wanted = Texts(embedding, texts)
    return Call(cast("Message", wanted), then) if apart else then(embed(wanted))


def lacking_texts(embedding: Embedding | None, given: Sequence[New]) -> list[str]:
    """Return the texts of memories or messages for which no vector was told in the embedder's space."""
    return (
        [] if embedding is None else [_text_of(each) for each in given if embedding.space not in (each.vectors or {})]
    )


def _text_of(new: NewMemory | NewMessage) -> str:
    return new.content if isinstance(new, NewMessage) else new.text


def with_vectors(embedding: Embedding | None, given: Sequence[New], made: Sequence[Vector]) -> Sequence[New]:
    """Return memories or messages with the vectors made of `lacking_texts`."""
    if embedding is None:
        return given
    left = iter(made)
    return [
        structs.replace(each, vectors={**(each.vectors or {}), embedding.space: packed_vector(next(left), "embedder")})
        if embedding.space not in (each.vectors or {})
        else each
        for each in given
    ]
