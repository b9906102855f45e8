"""LangChain's vector store, document index and retriever, where its own suites do not look."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.exceptions import LangChainException

from recollectd.adapters.langchain import RecollectdDocumentIndex, RecollectdRetriever, RecollectdVectorStore
from recollectd.client import Client

ANGLES = {"east": 0.0, "north-east": 45.0, "north": 90.0, "west": 180.0}


class Compass(Embeddings):
    """Directions as vectors, whose similarity is the cosine of the angle between them."""

    def embed_query(self, text: str) -> list[float]:
        angle = math.radians(ANGLES.get(text, 270.0))
        return [math.cos(angle), math.sin(angle)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


@pytest.fixture
def store(client: Client) -> RecollectdVectorStore:
    store = RecollectdVectorStore(client, Compass())
    store.add_documents(
        [Document(id=name, page_content=name, metadata={"angle": angle}) for name, angle in ANGLES.items()]
    )
    return store


def test_scores_are_cosines(store: RecollectdVectorStore) -> None:
    found = store.similarity_search_with_score("east", k=9)
    assert [document.id for document, _ in found] == ["east", "north-east", "north", "west"]
    assert [score for _, score in found] == pytest.approx([1.0, math.sqrt(0.5), 0.0, -1.0], abs=1e-3)
    relevant = store.similarity_search_with_relevance_scores("east", k=4)
    assert [score for _, score in relevant] == pytest.approx([1.0, (1 + math.sqrt(0.5)) / 2, 0.5, 0.0], abs=1e-3)


def test_a_filter_says_which_documents_count(store: RecollectdVectorStore) -> None:
    found = store.similarity_search("east", k=2, filter="metadata.angle >= 90")
    assert [document.id for document in found] == ["north", "west"]
    retriever = store.as_retriever(search_kwargs={"k": 1, "filter": "metadata.angle > 0"})
    assert [document.id for document in retriever.invoke("east")] == ["north-east"]
    with pytest.raises(LangChainException):
        store.similarity_search("east", filter="metadata.angle >=")


def test_what_is_unlike_is_preferred_where_asked(store: RecollectdVectorStore) -> None:
    assert {document.id for document in store.max_marginal_relevance_search("east", k=2, lambda_mult=1.0)} == {
        "east",
        "north-east",
    }
    unlike = store.max_marginal_relevance_search("east", k=2, lambda_mult=0.0)
    first, second = (document.id for document in unlike)
    assert first == "east"
    assert second != "north-east"


def test_many_documents_go_in_steps(client: Client) -> None:
    store = RecollectdVectorStore(client, Compass())
    texts = [f"text {number}" for number in range(1_200)]
    ids = store.add_texts(texts)
    assert [document.page_content for document in store.get_by_ids(ids)] == texts
    assert store.delete(ids)
    assert store.get_by_ids(ids) == []


def test_stores_do_not_see_each_other(client: Client) -> None:
    first = RecollectdVectorStore.from_texts(["east"], Compass(), client=client, name="first", ids=["1"])
    second = RecollectdVectorStore(client, Compass(), "second")
    assert second.similarity_search("east") == second.get_by_ids(["1"]) == []
    assert [document.id for document in first.similarity_search("east")] == ["1"]


@pytest.mark.parametrize(
    "document",
    [
        Document(id="x" * 10_240, page_content="east"),
        Document(page_content="half an emoji: \ud83d"),
        Document(page_content="east", metadata={"bad": object()}),
    ],
    ids=["id", "text", "metadata"],
)
def test_what_cannot_be_kept_is_refused_whole(client: Client, document: Document) -> None:
    stores: list[Any] = [RecollectdVectorStore(client, Compass()), RecollectdDocumentIndex(client=client)]
    for store, add in ((stores[0], stores[0].add_documents), (stores[1], stores[1].upsert)):
        with pytest.raises(LangChainException):
            add([Document(id="before", page_content="east"), document])
        assert (store.get_by_ids if store is stores[0] else store.get)(["before"]) == []


@pytest.mark.parametrize("name", ["a:b", "a/b", "*", "a\0", "😀", "x" * 256])
def test_hostile_ids_are_ids(store: RecollectdVectorStore, name: str) -> None:
    store.add_documents([Document(id=name, page_content="north"), Document(id="a", page_content="west")])
    store.add_documents([Document(id=name, page_content="east")])
    assert [document.page_content for document in store.get_by_ids([name, "a"])] == ["east", "west"]
    store.delete([name])
    assert [document.id for document in store.get_by_ids([name, "a"])] == ["a"]


def test_a_vector_of_another_length_is_refused(store: RecollectdVectorStore) -> None:
    with pytest.raises(LangChainException):
        store.similarity_search_by_vector([1.0, 0.0, 0.0])


def test_a_daemon_that_is_away_is_told_in_langchains_terms(tmp_path: Path) -> None:
    with Client(f"unix://{tmp_path}/nobody", timeout=0.5) as client:
        store, index = RecollectdVectorStore(client, Compass()), RecollectdDocumentIndex(client=client)
        for call in (
            lambda: store.add_texts(["east"]),
            lambda: store.similarity_search("east"),
            lambda: index.upsert([Document(page_content="east")]),
            lambda: index.invoke("east"),
            lambda: RecollectdRetriever(client=client).invoke("east"),
        ):
            with pytest.raises(LangChainException):
                call()
