"""How calls are carried out in the asyncio styles that wait for each call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from recollectd.client.aio.engine import Engine
from recollectd.client.calls import AsyncTransacting, Call, Walk
from recollectd.client.collecting import Batch, BatchFace
from recollectd.client.transaction import Recorder, TransactionBase, guarding
from recollectd.protocol import errors


async def walk_pages(query: Callable[[Call[Any]], Coroutine[Any, Any, Any]], call: Walk[Any]) -> AsyncIterator[Any]:
    """Return the items of a walk, page by page as they are asked for."""
    following: Walk[Any] | None = call
    while following is not None:
        turn = await query(following)
        for item in turn.items:
            yield item
        following = turn.following


class AwaitingFace:
    """Calls return awaitables of their results."""

    works_apart = True

    def __init__(self, engine: Engine) -> None:
        self.query = self.operation = self.command = engine.perform

    def walk(self, call: Walk[Any]) -> AsyncIterator[Any]:
        """Return an async iterator over the items."""
        return walk_pages(self.query, call)


class AsyncBatch(Batch):
    """See Batch."""

    def __init__(self, engine: Engine, namespace: tuple[str, ...], *, raises: bool) -> None:
        super().__init__(BatchFace(), namespace, raises=raises)
        self._engine = engine

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        call = self.close()
        if error is None and call is not None:
            try:
                await self._engine.perform(call)
            except Exception as failure:
                self.fail(failure)
                raise
            self.raise_refusals()


class AsyncTransactionFace:
    """Reads go out at once and are guarded; writes are collected."""

    works_apart = False

    def __init__(self, engine: Engine, recorder: Recorder) -> None:
        self._engine = engine
        self._recorder = recorder

    async def query(self, call: Call[Any]) -> Any:
        """Return a read's result."""
        while True:
            outcome = call.convert(await self._read(call))
            if type(outcome) is not Call:
                return outcome
            call = outcome

    async def _read(self, call: Call[Any]) -> Any:
        request = guarding(call.request)
        own = self._recorder.before_read(request)
        if own is not None:
            return own
        try:
            received = await self._engine.ask(request)
        except errors.RecollectdError as error:
            self._recorder.after_refusal(request, error)
            raise
        return self._recorder.after_read(request, received.position, received.reply)

    def walk(self, call: Walk[Any]) -> AsyncIterator[Any]:
        """Return an async iterator over the items."""
        return walk_pages(self.query, call)

    def operation(self, call: Call[Any]) -> None:
        """Collect a write."""
        self._recorder.write(call)

    def command(self, call: Call[Any]) -> Any:
        """Refuse."""
        raise errors.InvalidArgument(f"{type(call.request).__name__} cannot be part of a transaction")


class AsyncTransaction(TransactionBase[AsyncTransacting]):
    """See TransactionBase; reads are awaited, writes are not."""

    def __init__(self, engine: Engine, namespace: tuple[str, ...]) -> None:
        recorder = Recorder()
        super().__init__(AsyncTransactionFace(engine, recorder), namespace, recorder)
