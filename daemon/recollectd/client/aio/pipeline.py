"""Pipelines under asyncio: calls in flight together without a task for each."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from msgspec import Struct

from recollectd.client.aio.engine import Engine, outcome_of
from recollectd.client.aio.multiplexer import AsyncOperation
from recollectd.client.calls import AsyncPipelining, Call, Walk
from recollectd.client.gathering import concerns_each, gather, may_be_gathered, spread
from recollectd.client.kinds.everything import Everything
from recollectd.protocol import errors
from recollectd.protocol.messages.fields import Message

T = TypeVar("T")


class AsyncHandle(Struct, Generic[T], eq=False):
    """The result of a call that was sent: await it, once or often; that raises the call's error."""

    call: Call[T]
    _result: Any = None
    _error: Exception | None = None
    _done: bool = False
    _seen: bool = False
    _waiters: list[asyncio.Future[None]] | None = None

    @property
    def done(self) -> bool:
        """Whether result or error are there."""
        return self._done

    @property
    def error(self) -> Exception | None:
        """The error of a call that is done."""
        return self._error

    @property
    def unseen_error(self) -> Exception | None:
        """The error of a call that is done and that nobody has awaited."""
        return None if self._seen else self._error

    def __await__(self) -> Generator[Any, None, T]:
        self._seen = True
        if not self._done:
            yield from self.wait().__await__()
        if self._error is not None:
            raise self._error
        result: T = self._result
        return result

    async def wait(self) -> None:
        """Wait until it is done; who gives up waiting gives up only that."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters = [*(self._waiters or ()), waiter]
        await waiter

    def settle(self, result: T) -> None:
        """Give the result."""
        self._result, self._done = result, True
        if self._waiters is not None:
            self._wake(self._waiters)

    def fail(self, error: Exception) -> None:
        """Give the error."""
        self._error, self._done = error, True
        if self._waiters is not None:
            self._wake(self._waiters)

    def _wake(self, waiters: list[asyncio.Future[None]]) -> None:
        self._waiters = None
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class AsyncPipelineFace:
    """Calls are sent in this turn of the loop and answered through handles."""

    works_apart = False

    def __init__(self, engine: Engine) -> None:
        self.handles: list[AsyncHandle[Any]] = []
        self._engine = engine
        self._gets: list[AsyncHandle[Any]] = []  # of this turn, behind the last write: they will travel together

    def query(self, call: Call[Any]) -> AsyncHandle[Any]:
        """Send a read and return its handle."""
        handle: AsyncHandle[Any] = AsyncHandle(call)
        if may_be_gathered(call.request):
            if not self._gets:
                self._engine.multiplexer.connector.check_usable()
                self._engine.multiplexer.gather(self._send_gets)
            self._gets.append(handle)
        else:
            self._send(handle)
        self.handles.append(handle)
        return handle

    def operation(self, call: Call[Any]) -> AsyncHandle[Any]:
        """Send a write and return its handle."""
        handle: AsyncHandle[Any] = AsyncHandle(call)
        gets, self._gets = self._gets, []
        for get in gets:
            self._send(get)
        self._send(handle)
        self.handles.append(handle)
        return handle

    command = operation

    def walk(self, call: Walk[Any]) -> Any:
        """Refuse."""
        raise errors.InvalidArgument("a walk waits for each page before the next; it cannot be part of a pipeline")

    def _send(self, handle: AsyncHandle[Any], *, again: bool = False) -> None:
        def tell(operation: AsyncOperation) -> None:
            try:
                outcome = handle.call.convert(outcome_of(operation).reply)
                if type(outcome) is Call:
                    handle.call = outcome
                    self._send(handle)
                else:
                    handle.settle(outcome)
            except Exception as error:
                handle.fail(error)

        self._engine.submit(handle.call.request, tell, ordered=True, held_for=again, first=again)

    def _send_gets(self) -> None:
        gets, self._gets = self._gets, []
        self._gather(gets)

    def _gather(self, gets: Sequence[AsyncHandle[Any]], *, again: bool = False) -> None:
        """Send gets. again: they have been sent before; then they go in front of writes made meanwhile."""
        for request, handles in gather(gets):
            try:
                if len(handles) == 1:
                    self._send(handles[0], again=again)
                else:
                    self._send_several(request, handles, again=again)
            except Exception as error:  # closed meanwhile
                for handle in handles:
                    handle.fail(error)

    def _send_several(self, request: Message, handles: Sequence[AsyncHandle[Any]], *, again: bool) -> None:
        def tell(operation: AsyncOperation) -> None:
            try:
                self._gather(spread(outcome_of(operation).reply, handles, AsyncHandle.fail), again=True)
            except Exception as error:
                for handle in handles:
                    if concerns_each(error):
                        self._gather([handle], again=True)
                    else:
                        handle.fail(error)

        self._engine.submit(request, tell, ordered=True, held_for=True, first=again)


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
                await handle.wait()
            if handle.error is not None:
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
