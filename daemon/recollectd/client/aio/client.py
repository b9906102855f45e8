"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from os import PathLike
from types import TracebackType
from typing import Literal, Self, TypeVar

from recollectd.client.address import parse_url
from recollectd.client.aio.connector import Connector
from recollectd.client.aio.engine import Engine
from recollectd.client.aio.faces import AsyncBatch, AsyncTransaction, AwaitingFace
from recollectd.client.aio.multiplexer import Multiplexer
from recollectd.client.aio.pipeline import AsyncPipeline, AsyncPipelineFace
from recollectd.client.aio.watch import AsyncWatch
from recollectd.client.arguments import label_tuple, whole
from recollectd.client.calls import Awaiting
from recollectd.client.embedding import Embedder, Embedding, as_embedding
from recollectd.client.kinds.everything import Everything
from recollectd.client.options import Options
from recollectd.client.retry import conflict_delay_s
from recollectd.client.watching import WatchState
from recollectd.protocol import errors

T = TypeVar("T")


class AsyncClient(Everything[Awaiting]):
    """A client for asyncio: Client's arguments and methods, with `await`, `async for` and `async with`.

    It belongs to the event loop in which it is first used. All calls share one connection and may be in flight
    together, in the order they were made; each watch has a connection of its own, up to `connections_max` in all
    (TooManyConnections). A call that is cancelled is given up: whether its write happened is not known, but it does
    not happen behind a later write of this client.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: Sequence[str] = ("default",),
        timeout: float = 30.0,
        durability: Literal["sync", "async"] = "sync",
        connections_max: int = 8,
        name: str = "",
        embedder: Embedder | Embedding | None = None,
    ) -> None:
        options = Options(timeout, durability, connections_max, name)
        self._connector = Connector(parse_url(url), options.name, options.connections_max)
        self._engine = Engine(Multiplexer(self._connector), options.timeout, durable=options.durable)
        self._embedding = as_embedding(embedder)
        super().__init__(AwaitingFace(self._engine), label_tuple(namespace))

    @classmethod
    async def local(
        cls,
        folder: str | PathLike[str],
        *,
        exit_when_idle: float = 60.0,
        namespace: Sequence[str] = ("default",),
        timeout: float = 30.0,
        durability: Literal["sync", "async"] = "sync",
        connections_max: int = 8,
        name: str = "",
        embedder: Embedder | Embedding | None = None,
    ) -> Self:
        """See Client.local."""
        from recollectd.client.local import LocalDaemon  # users of `local` alone pay for its imports

        daemon = LocalDaemon(folder, exit_when_idle)
        await asyncio.to_thread(daemon.start)
        client = cls(
            daemon.url,
            namespace=namespace,
            timeout=timeout,
            durability=durability,
            connections_max=connections_max,
            name=name,
            embedder=embedder,
        )
        client._connector.rescue = lambda: asyncio.to_thread(daemon.start)
        return client

    def with_options(self, *, timeout: float | None = None, durability: Literal["sync", "async"] | None = None) -> Self:
        """Return a view of this client with another timeout or durability."""
        given = Options(
            self._engine.timeout if timeout is None else timeout,
            ("sync" if self._engine.durable else "async") if durability is None else durability,
        )
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._engine = Engine(self._engine.multiplexer, given.timeout, durable=given.durable)
        Everything.__init__(view, AwaitingFace(view._engine), self.namespace)
        return view

    @property
    def position(self) -> int:
        """See Client.position."""
        return self._connector.session.position

    def pipeline(self, *, raises: bool = True) -> AsyncPipeline:
        """Return a pipeline: `async with client.pipeline() as pipeline: ...`. See AsyncPipeline."""
        return AsyncPipeline(AsyncPipelineFace(self._engine), self.namespace, raises=raises).embedding_with(
            self._embedding
        )

    def batch(self, *, raises: bool = True) -> AsyncBatch:
        """Return a batch: `async with client.batch() as batch: ...`. See Batch."""
        return AsyncBatch(self._engine, self.namespace, raises=raises).embedding_with(self._embedding)

    async def transact(self, function: Callable[[AsyncTransaction], Awaitable[T]], *, attempts: int = 10) -> T:
        """See Client.transact; the function is a coroutine function."""
        conflict: errors.TransactionConflict | None = None
        for attempt in range(whole(attempts, "attempts", least=1)):
            if attempt:
                await asyncio.sleep(conflict_delay_s(attempt))
            transaction = AsyncTransaction(self._engine, self.namespace).embedding_with(self._embedding)
            try:
                result = await function(transaction)
                call = transaction.commit_call()
                if call is not None:
                    await self._engine.perform(call)
                return result
            except errors.TransactionConflict as error:
                conflict = error
        raise errors.TransactionConflict(f"still in conflict after {attempts} attempts: {conflict}") from conflict

    def watch(
        self,
        prefix: str = "",
        *,
        namespace: Sequence[str] | None = None,
        kinds: Iterable[str] = (),
        position: int | None = None,
        values: bool = False,
    ) -> AsyncWatch:
        """See Client.watch; returns an async iterator, which is also an async context manager. See AsyncWatch."""
        target = self.namespace if namespace is None else label_tuple(namespace)
        return AsyncWatch(self._connector, self._engine.timeout, WatchState(target, prefix, kinds, position, values))

    async def close(self) -> None:
        """Close the connections, also those of all views; calls under way raise ClientClosed."""
        await self._engine.multiplexer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
