"""The store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Literal, Self

from langgraph.store.base import BaseStore, IndexConfig, Op, PutOp, Result, SearchOp, TTLConfig
from langgraph.store.base.batch import AsyncBatchedBaseStore

from recollectd.adapters.langgraph.items import Items
from recollectd.adapters.langgraph.steps import Faces
from recollectd.adapters.langgraph.vectors import Embedding, Index


class _Core:
    """What both stores do: check, embed, and carry out."""

    def __init__(
        self,
        url: str | None,
        namespace: Sequence[str],
        timeout: float,
        durability: Literal["sync", "async"],
        index: IndexConfig | None,
        ttl: TTLConfig | None,
    ) -> None:
        self.faces = Faces(url, namespace, timeout, durability)
        self.items = Items(self.faces.namespace, refresh=ttl is not None and bool(ttl.get("refresh_on_read")))
        self.index = None if index is None else Index(index)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        checked, embedding = self._prepared(ops)
        embedding.run()
        return self.faces.run(self.items.batch(checked, embedding))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        checked, embedding = self._prepared(ops)
        await embedding.arun()
        return await self.faces.arun(self.items.batch(checked, embedding))

    def _prepared(self, ops: Iterable[Op]) -> tuple[list[Op], Embedding]:
        checked = self.items.check(ops)
        puts = [op for op in checked if isinstance(op, PutOp)]
        return checked, Embedding(self.index, puts, [op for op in checked if isinstance(op, SearchOp)])


class RecollectdStore(BaseStore):
    """A LangGraph store over a recollectd daemon; its methods may be awaited (`aput`, …) or not.

    url, namespace, timeout, durability: as for RecollectdSaver. index: dimensions, embedding function and fields for
    semantic search, which the daemon's vector index does. ttl: default time to live in minutes, and whether reads begin
    it anew (only with `refresh_on_read`, as with LangGraph's own databases). An item whose time is over is gone at
    once; none is swept.

    What a batch puts is one transaction. Raises InvalidNamespaceError (labels of more than 128 bytes, more labels than
    a namespace of recollectd has room for), ValueError for keys, TypeError for values that are no plain data, and
    RecollectdError when the daemon cannot do its part.
    """

    supports_ttl = True

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: Sequence[str] = ("langgraph",),
        timeout: float = 30.0,
        durability: Literal["sync", "async"] = "sync",
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:
        super().__init__()
        self.ttl_config = ttl
        self.index_config = index
        self._core = _Core(url, namespace, timeout, durability, index, ttl)

    @classmethod
    @contextmanager
    def from_conn_string(cls, url: str, **options: Any) -> Iterator[Self]:
        """Give a store that is closed at the end of the `with` block."""
        with cls(url, **options) as store:
            yield store

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations; what they read is as it was before them."""
        return self._core.batch(ops)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """See batch."""
        return await self._core.abatch(ops)

    def close(self) -> None:
        """Close the connections of the blocking methods."""
        self._core.faces.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and those of the blocking methods."""
        await self._core.faces.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class AsyncRecollectdStore(AsyncBatchedBaseStore):
    """RecollectdStore for one event loop: what is asked for in the same turn of the loop goes out as one batch.

    Made inside the loop. Its blocking methods may be called from other threads only.
    """

    supports_ttl = True

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: Sequence[str] = ("langgraph",),
        timeout: float = 30.0,
        durability: Literal["sync", "async"] = "sync",
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:
        super().__init__()
        self.ttl_config = ttl
        self.index_config = index
        self._core = _Core(url, namespace, timeout, durability, index, ttl)

    @classmethod
    @asynccontextmanager
    async def from_conn_string(cls, url: str, **options: Any) -> AsyncIterator[Self]:
        """Give a store that is closed at the end of the `async with` block."""
        async with cls(url, **options) as store:
            yield store

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """See RecollectdStore.batch. Raises InvalidStateError in the store's own event loop, which it would stop."""
        try:
            own = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            own = False
        if own:
            raise asyncio.InvalidStateError("the store's event loop is running here: await abatch instead")
        return asyncio.run_coroutine_threadsafe(self.abatch(ops), self._loop).result()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """See RecollectdStore.batch."""
        return await self._core.abatch(ops)

    async def aclose(self) -> None:
        """Stop batching and close the connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        await self._core.faces.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
