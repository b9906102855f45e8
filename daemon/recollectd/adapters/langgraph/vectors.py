"""What is embedded of the store's items: a vector for each text that the index configuration names."""

from __future__ import annotations

import math
import operator
from array import array
from collections.abc import Sequence
from typing import Any, Final

from langgraph.store.base import IndexConfig, PutOp, SearchOp, ensure_embeddings, get_text_at_path, tokenize_path

_WHOLE: Final = "$"


class Index:
    """What is embedded of an item, and by what."""

    def __init__(self, config: IndexConfig) -> None:
        self.dims = int(config["dims"])
        self.embeddings: Any = ensure_embeddings(config["embed"])
        self._fields = _tokenized(config.get("fields") or [_WHOLE])

    def texts(self, op: PutOp) -> list[str]:
        """Return the texts of an item that are to be embedded."""
        if op.value is None or op.index is False:
            return []
        fields = self._fields if op.index is None else _tokenized(op.index)
        return [text for path in fields for text in get_text_at_path(op.value, path)]

    def packed(self, vector: Sequence[float]) -> bytes:
        """Return a vector as it is stored: of length 1, in 32-bit floats. Raises ValueError for a wrong dimension."""
        if len(vector) != self.dims:
            raise ValueError(f"the embedding has {len(vector)} dimensions; the index has {self.dims}")
        length = math.sqrt(sum(map(operator.mul, vector, vector))) or 1.0
        return array("f", [number / length for number in vector]).tobytes()


def _tokenized(paths: Sequence[str]) -> list[Any]:
    return [path if path == _WHOLE else tokenize_path(path) for path in paths]


class Embedding:
    """The texts of a batch, each embedded once, and what is packed of them."""

    def __init__(self, index: Index | None, puts: Sequence[PutOp], searches: Sequence[SearchOp]) -> None:
        self.index = index
        self.documents: list[str] = []
        self.queries: list[str] = []
        self._vectors: dict[str, bytes] = {}
        self._asked: dict[str, bytes] = {}
        if index is not None:
            self.documents = list(dict.fromkeys(text for op in puts for text in index.texts(op)))
            self.queries = list(dict.fromkeys(op.query for op in searches if op.query))

    def run(self) -> None:
        """Embed with the blocking methods."""
        if self.index is not None:
            embeddings = self.index.embeddings
            self._take(
                embeddings.embed_documents(self.documents) if self.documents else [],
                [embeddings.embed_query(query) for query in self.queries],
            )

    async def arun(self) -> None:
        """Embed with the async methods."""
        if self.index is not None:
            embeddings = self.index.embeddings
            self._take(
                await embeddings.aembed_documents(self.documents) if self.documents else [],
                [await embeddings.aembed_query(query) for query in self.queries],
            )

    def _take(self, documents: Sequence[Sequence[float]], queries: Sequence[Sequence[float]]) -> None:
        assert self.index is not None
        self._vectors = dict(zip(self.documents, map(self.index.packed, documents), strict=True))
        self._asked = dict(zip(self.queries, map(self.index.packed, queries), strict=True))

    def of(self, op: PutOp) -> list[bytes]:
        """Return the vectors of an item."""
        return [] if self.index is None else [self._vectors[text] for text in self.index.texts(op)]

    def asked(self, query: str | None) -> bytes | None:
        """Return the vector of a query, None where a search goes without."""
        return None if self.index is None or not query else self._asked[query]
