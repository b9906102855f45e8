"""Pipelines under asyncio: calls in flight together without a task for each."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from recollectd.client.aio.engine import Engine, outcome_of
from recollectd.client.aio.multiplexer import AsyncOperation
from recollectd.client.calls import AsyncPipelining, Call, Walk
from recollectd.client.kinds.everything import Everything
from recollectd.protocol import errors

T = TypeVar("T")


class AsyncHandle(Generic[T]):
    """The result of a call that was sent: await it, once or often; that raises the call's error."""

    def __init__(self, engine: Engine, call: Call[T]) -> None:
        self._engine = engine
        self._result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._seen = False
        self._begin(call)

    @property
    def done(self) -> bool:
        """Whether result or error are there."""
        return self._result.done()

    @property
    def unseen_error(self) -> BaseException | None:
        """The error of a call that is done and that nobody has awaited."""
        return None if self._seen or not self.done else self._result.exception()

    def __await__(self) -> Generator[Any, None, T]:
        self._seen = True
        # Shielded: who gives up waiting gives up only that.
        return asyncio.shield(self._result).__await__()

    def _begin(self, call: Call[T]) -> None:
        operation = self._engine.submit(call.request, ordered=True)

        def settle(_: asyncio.Future[None]) -> None:
            self._settle(call, operation)

        operation.future.add_done_callback(settle)

    def _settle(self, call: Call[T], operation: AsyncOperation) -> None:
        try:
            outcome: Any = call.convert(outcome_of(operation).reply)
            if type(outcome) is Call:
                self._begin(outcome)
            else:
                self._result.set_result(outcome)
        except Exception as error:
            self._result.set_exception(error)
            self._result.exception()  # seen by asyncio; the pipeline's end tells of it if nobody else asks


class AsyncPipelineFace:
    """Calls are sent at once and answered through handles."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.handles: list[AsyncHandle[Any]] = []

    def query(self, call: Call[Any]) -> AsyncHandle[Any]:
        """Send a call and return its handle."""
        handle = AsyncHandle(self._engine, call)
        self.handles.append(handle)
        return handle

    operation = command = query

    def walk(self, call: Walk[Any]) -> Any:
        """Refuse."""
        raise errors.InvalidArgument("a walk waits for each page before the next; it cannot be part of a pipeline")


class AsyncPipeline(Everything[AsyncPipelining]):
    """Calls that are sent at once, in order, and answered through handles to await.

    Calls about the same record are carried out in order. The end of the `async with` block waits for all and raises
    the first error of a handle that nobody awaited, unless the pipeline was made with `raises=False`. What is sent
    waits in memory until the daemon takes it: `await flush()` now and then when sending very much.

    When the daemon is busy a call is put off and all behind it wait; one that later calls of the same record have
    already followed cannot be put off, and fails with Busy.
    """

    def __init__(self, face: AsyncPipelineFace, namespace: tuple[str, ...], *, raises: bool) -> None:
        super().__init__(face, namespace)
        self._pipeline = face
        self._raises = raises
        self._failed: list[AsyncHandle[Any]] = []

    async def flush(self) -> None:
        """Wait until everything sent so far is answered; raises nothing."""
        handles, self._pipeline.handles = self._pipeline.handles, []
        for handle in handles:
            if not handle.done:
                await asyncio.wait([handle._result])
            if handle._result.exception() is not None:
                self._failed.append(handle)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.flush()
        if error is None and self._raises:
            for handle in self._failed:
                if handle.unseen_error is not None:
                    raise handle.unseen_error
