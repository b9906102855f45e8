"""langchain-tests: the suites for vector stores, document indexes and retrievers."""

from __future__ import annotations

from typing import Any, Final

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import DocumentIndex
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests.indexer import AsyncDocumentIndexTestSuite, DocumentIndexerTestSuite
from langchain_tests.integration_tests.retrievers import RetrieversIntegrationTests
from langchain_tests.integration_tests.vectorstores import VectorStoreIntegrationTests

from recollectd.adapters.langchain import RecollectdDocumentIndex, RecollectdRetriever, RecollectdVectorStore
from recollectd.client import Client

EXCEPTIONS: Final[dict[str, str]] = {}


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, client: Client) -> VectorStore:
        return RecollectdVectorStore(client, self.get_embeddings())


class TestDocumentIndex(DocumentIndexerTestSuite):
    @pytest.fixture
    def index(self, client: Client) -> DocumentIndex:
        return RecollectdDocumentIndex(client=client)


class TestDocumentIndexAsync(AsyncDocumentIndexTestSuite):
    @pytest.fixture
    async def index(self, client: Client) -> DocumentIndex:
        return RecollectdDocumentIndex(client=client)


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _documents(self, client: Client) -> None:
        for number in range(5):
            client.memories.add(f"a ship, number {number}")
        self._client = client

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return RecollectdRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"client": self._client}

    @property
    def retriever_query_example(self) -> str:
        return "ship"


def test_an_index_is_a_retriever(client: Client) -> None:
    index = RecollectdDocumentIndex(client=client, k=2)
    index.upsert(
        [Document(id=str(number), page_content=f"ship {number}", metadata={"n": number}) for number in range(4)]
    )
    assert len(index.invoke("ship")) == 2
    assert [document.id for document in index.invoke("ship", filter="metadata.n >= 3")] == ["3"]
