"""A document index and a retriever of LangChain, which find documents by their words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.indexing import DocumentIndex, UpsertResponse
from langchain_core.indexing.base import DeleteResponse
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from recollectd.adapters.langchain.common import in_their_terms, place
from recollectd.adapters.langchain.documents import delete, document_of, get, upsert
from recollectd.client import Client


def found(client: Client, query: str, k: int, filter: str) -> list[Document]:
    """Return the `k` documents that answer a query best by their words. Raises LangChainException."""
    if not query.strip():
        return []
    with in_their_terms():
        found = client.memories.search(
            query, mode="keyword", limit=k, filter=filter, neighbours=0.0, speaker=0.0, expansion=0.0, turns=0.0
        )
    return [document_of(hit.memory) for hit in found.hits]


class RecollectdDocumentIndex(DocumentIndex):
    """Documents by id, found by their words, kept by a recollectd daemon; a retriever, too.

    k: how many are found; filter: only of those, in recollectd's grammar. What the daemon refuses and a daemon that
    does not answer raise LangChainException.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    client: Client
    name: str = "documents"
    k: int = 4
    filter: str = ""

    def _place(self) -> Client:
        return place(self.client, "documents", self.name)

    def upsert(self, items: Sequence[Document], /, **kwargs: Any) -> UpsertResponse:
        """Write documents, over those of the same ids; 500 at a time are all or none."""
        return UpsertResponse(succeeded=upsert(self._place(), items), failed=[])

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> DeleteResponse:
        """Delete documents. Raises ValueError without ids."""
        if ids is None:
            raise ValueError("which documents are to be deleted must be said")
        gone = delete(self._place(), ids)
        return DeleteResponse(succeeded=gone, num_deleted=len(gone), num_failed=0, failed=[])

    def get(self, ids: Sequence[str], /, **kwargs: Any) -> list[Document]:
        """Return the documents there are of these ids."""
        return get(self._place(), ids)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: str | None = None,
    ) -> list[Document]:
        return found(self._place(), query, self.k if k is None else k, self.filter if filter is None else filter)


class RecollectdRetriever(BaseRetriever):
    """Memories of a namespace that answer a query best by their words, whoever wrote them there.

    client: in whose namespace; k and filter as with RecollectdDocumentIndex.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    client: Client
    k: int = 4
    filter: str = ""

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: str | None = None,
    ) -> list[Document]:
        return found(self.client, query, self.k if k is None else k, self.filter if filter is None else filter)
