"""A vector store of LangChain: a memory with a vector for each document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStore

from recollectd.adapters.langchain.common import in_their_terms, place
from recollectd.adapters.langchain.documents import SPACE, delete, document_of, get, upsert
from recollectd.client import Client
from recollectd.client.results import MemoryHit
from recollectd.protocol import errors


class RecollectdVectorStore(VectorStore):
    """Documents found by what they mean, kept by a recollectd daemon.

        store = RecollectdVectorStore(client, embeddings, "handbook")
        store.add_documents([Document(page_content="…", metadata={"year": 2026})])
        store.similarity_search("…", k=4, filter="metadata.year >= 2020")

    Scores are cosine similarities. filter: in recollectd's grammar. What the daemon refuses and a daemon that does not
    answer raise LangChainException. The vectors' length is that of the first document's.
    """

    def __init__(self, client: Client, embedding: Embeddings, name: str = "vectors") -> None:
        """Use a client, which stays the caller's to close. name: of this store among others."""
        self._client = place(client, "vectors", name)
        self._embedding = embedding

    @property
    def embeddings(self) -> Embeddings:
        """What makes the vectors."""
        return self._embedding

    @classmethod
    def from_texts(  # type: ignore[override]  # a client is needed, too
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        client: Client,
        ids: list[str] | None = None,
        name: str = "vectors",
    ) -> Self:
        """Return a store with these texts in it."""
        store = cls(client, embedding, name)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def add_documents(self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any) -> list[str]:
        """Add documents, over those of the same ids, and return their ids; 500 at a time are all or none."""
        texts = [document.page_content for document in documents]
        return self._add(documents, ids, self._embedding.embed_documents(texts) if texts else [])

    async def aadd_documents(self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any) -> list[str]:
        """See add_documents."""
        texts = [document.page_content for document in documents]
        vectors = await self._embedding.aembed_documents(texts) if texts else []
        return await run_in_executor(None, self._add, documents, ids, vectors)

    def _add(self, documents: list[Document], ids: list[str] | None, vectors: list[list[float]]) -> list[str]:
        if not documents:
            return []
        with in_their_terms():
            if not self._client.vector_spaces.list():
                with suppress(errors.AlreadyExists):  # another process was first
                    self._client.vector_spaces.create(SPACE, len(vectors[0]), precision="f32")
        return upsert(self._client, documents, ids, vectors)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents there are of these ids."""
        return get(self._client, ids)

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Delete documents; those that are not there are passed over."""
        delete(self._client, ids or [])
        return True

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: str = ""
    ) -> list[tuple[Document, float]]:
        """Return the `k` documents nearest to a vector, of those that match a filter, with their similarity."""
        hits = self._hits(embedding, k, filter)
        return [(document_of(hit.memory), _similarity(hit)) for hit in hits]

    def _hits(self, embedding: list[float], k: int, filter: str, diversity: float = 0.0) -> list[MemoryHit]:
        with in_their_terms():
            if not self._client.vector_spaces.list():
                return []
            return self._client.memories.search(
                vectors={SPACE: embedding},
                mode="vector",
                filter=filter,
                limit=k,
                min_score=-1.0,
                neighbours=0.0,
                speaker=0.0,
                turns=0.0,
                diversity=diversity,
                explain=True,
            ).hits

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: str = "", **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the `k` documents nearest to a text, with their similarity."""
        return self.similarity_search_with_score_by_vector(self._embedding.embed_query(query), k, filter=filter)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, *, filter: str = "", **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """See similarity_search_with_score."""
        embedding = await self._embedding.aembed_query(query)
        search: Callable[..., list[tuple[Document, float]]] = self.similarity_search_with_score_by_vector
        return await run_in_executor(None, lambda: search(embedding, k, filter=filter))

    def similarity_search(self, query: str, k: int = 4, *, filter: str = "", **kwargs: Any) -> list[Document]:
        """Return the `k` documents nearest to a text."""
        return [document for document, _ in self.similarity_search_with_score(query, k, filter=filter)]

    async def asimilarity_search(self, query: str, k: int = 4, *, filter: str = "", **kwargs: Any) -> list[Document]:
        """See similarity_search."""
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, filter=filter)]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: str = "", **kwargs: Any
    ) -> list[Document]:
        """Return the `k` documents nearest to a vector."""
        return [document for document, _ in self.similarity_search_with_score_by_vector(embedding, k, filter=filter)]

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: str = "",
        **kwargs: Any,
    ) -> list[Document]:
        """Return `k` documents near to a vector and unlike each other; lambda_mult: from 0, most unlike, to 1.

        The daemon chooses from as many as it finds useful: fetch_k is not used.
        """
        return [document_of(hit.memory) for hit in self._hits(embedding, k, filter, 1.0 - lambda_mult)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: str = "",
        **kwargs: Any,
    ) -> list[Document]:
        """See max_marginal_relevance_search_by_vector."""
        embedding = self._embedding.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(embedding, k, fetch_k, lambda_mult, filter=filter)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda similarity: (1.0 + similarity) / 2.0


def _similarity(hit: MemoryHit) -> float:
    details = hit.score_details
    return hit.score if details is None or not details.arms else details.arms[0].raw
