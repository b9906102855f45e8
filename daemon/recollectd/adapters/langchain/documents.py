"""Documents of LangChain as memories: what the vector store, the document index and the retriever stand on."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final

from langchain_core.documents import Document
from langchain_core.exceptions import LangChainException

from recollectd.adapters.langchain.common import in_their_terms
from recollectd.client import Client, Transaction
from recollectd.client.results import Memory, NewMemory
from recollectd.client.vectors import Vector

SPACE: Final = "langchain"
"""The vector space of a store's namespace. Do not change."""
_BATCH: Final = 500


def document_of(memory: Memory) -> Document:
    """Return a memory as the document it was made of."""
    return Document(id=memory.memory_id, page_content=memory.text, metadata=memory.metadata or {})


def upsert(
    client: Client,
    documents: Sequence[Document],
    ids: Sequence[str | None] | None = None,
    vectors: Sequence[Vector] | None = None,
) -> list[str]:
    """Write documents, over those of the same ids, and return their ids; 500 at a time are all or none.

    Without an id a document gets one. Of documents with the same id the last counts. Raises LangChainException.
    """
    if ids is not None and len(ids) != len(documents):
        raise LangChainException(f"there are {len(ids)} ids for {len(documents)} documents")
    given = [document.id for document in documents] if ids is None else ids
    names = [each or str(uuid.uuid4()) for each in given]
    wanted = {
        name: NewMemory(
            document.page_content,
            name,
            metadata=document.metadata or None,
            vectors=None if vectors is None else {SPACE: vectors[index]},
        )
        for index, (name, document) in enumerate(zip(names, documents, strict=True))
    }
    unique = list(wanted.values())
    with in_their_terms():
        for start in range(0, len(unique), _BATCH):
            _write(client, unique[start : start + _BATCH])
    return names


def _write(client: Client, memories: list[NewMemory]) -> None:
    def write(transaction: Transaction) -> None:
        known = transaction.memories.get_many([str(each.memory_id) for each in memories])
        new = [each for each in memories if each.memory_id not in known]
        if new:
            transaction.memories.add_many(new)
        for each in memories:
            if each.memory_id in known:
                transaction.memories.replace(each)

    client.transact(write)


def get(client: Client, ids: Sequence[str]) -> list[Document]:
    """Return the documents there are, in the order of their ids. Raises LangChainException."""
    wanted = list(dict.fromkeys(ids))
    with in_their_terms():
        found = client.memories.get_many(wanted) if wanted else {}
    return [document_of(found[each]) for each in wanted if each in found]


def delete(client: Client, ids: Sequence[str]) -> list[str]:
    """Delete documents and return the ids of those there were. Raises LangChainException."""
    wanted = list(dict.fromkeys(ids))
    gone: list[str] = []
    with in_their_terms():
        for start in range(0, len(wanted), _BATCH):
            step = wanted[start : start + _BATCH]
            with client.batch() as batch:
                handles = [batch.memories.delete(each) for each in step]
            gone += [each for each, handle in zip(step, handles, strict=True) if handle.result()]
    return gone
