"""Watching from a coroutine."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from types import TracebackType
from typing import Final, Self

from recollectd.client.aio.channel import Channel
from recollectd.client.aio.connector import Connector
from recollectd.client.core import Answer
from recollectd.client.results import Change
from recollectd.client.retry import Backoff, worth_retrying
from recollectd.client.watching import WatchState
from recollectd.protocol import errors, table

_CHANGES_WAITING_MAX: Final = 10_000
"""With more waiting to be taken nothing is read: the daemon keeps them, up to its own bound (Resync)."""


class AsyncWatch:
    """Changes as they happen, over a connection of its own; an async iterator for one task.

    The watch is in place when its `async with` block begins, or else with the first step of the iteration. A lost
    connection is replaced and nothing is left out or told twice; no daemon for the client's timeout raises
    DaemonUnavailable, and Resync says that changes were missed. `close` ends the iteration; closing the client ends
    it with ClientClosed.
    """

    def __init__(self, connector: Connector, timeout: float, state: WatchState) -> None:
        self._connector = connector
        self._timeout = timeout
        self._state = state
        self._changes: deque[Change] = deque()
        self._channel: Channel[None] | None = None
        self._failure: errors.RecollectdError | None = None
        self._news = asyncio.Event()
        self._closed = False

    @property
    def position(self) -> int | None:
        """The position to watch from later, to be told what comes behind the changes taken so far.

        None before the watch is in place, unless it was told where to begin.
        """
        return self._changes[0].position - 1 if self._changes else self._state.position

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        """Wait for the next change."""
        while not self._changes:
            if self._closed:
                raise StopAsyncIteration
            self._connector.check_usable()
            if self._channel is None:
                await self._subscribe()
            else:
                await self._wait()
        if self._channel is not None and len(self._changes) == _CHANGES_WAITING_MAX:
            self._channel.resume_reading()
        return self._changes.popleft()

    async def close(self) -> None:
        """End the watch."""
        self._closed = True
        self._news.set()
        self._connector.end_watch(self._news.set)
        await self._leave()

    async def __aenter__(self) -> Self:
        await self._subscribe()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _answered(self, answers: list[Answer[None]]) -> None:
        try:
            for answer in answers:
                self._changes.extend(self._state.take(answer.reply))
        except errors.RecollectdError as error:
            self._failure = error
        if self._channel is not None and len(self._changes) > _CHANGES_WAITING_MAX:
            self._channel.pause_reading()
        self._news.set()

    def _lost(self, failure: errors.RecollectdError) -> None:
        self._failure = self._failure or failure
        self._news.set()

    async def _wait(self) -> None:
        """Wait for an answer; leave the connection when that was its end, ending the watch if it was a final one."""
        await self._news.wait()
        self._news.clear()
        if self._failure is not None and not self._changes:  # the changes that came before it are taken first
            await self._leave()
            if not worth_retrying(self._failure):
                await self.close()
                raise self._failure
        elif self._failure is not None:
            self._news.set()

    async def _subscribe(self) -> None:
        """Have the watch put in place, within the client's timeout."""
        self._connector.begin_watch(self._news.set)
        deadline = monotonic() + self._timeout
        backoff = Backoff()
        while not self._closed:
            try:
                async with asyncio.timeout(deadline - monotonic()):
                    await self._begin()
                return
            except TimeoutError:
                await self._leave()
                raise errors.RequestTimeout("the watch was not confirmed within the timeout") from None
            except errors.RecollectdError as error:
                await self._leave()
                self._connector.check_usable()
                delay_s = backoff.delay_s(error)
                if monotonic() + delay_s >= deadline:
                    raise
            await asyncio.sleep(delay_s)

    async def _begin(self) -> None:
        """Subscribe over a new connection."""
        self._failure, self._state.in_place = None, False
        self._channel = channel = await self._connector.connect(self._answered, self._lost)
        assert channel.core.welcome is not None
        request = self._state.request(channel.core.welcome)
        channel.write(channel.core.send(None, table.encode(request)))
        while not self._state.in_place:
            await self._news.wait()
            self._news.clear()
            if self._failure is not None:
                raise self._failure
            if self._closed:
                return
        if self._changes or self._failure is not None:
            self._news.set()

    async def _leave(self) -> None:
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await self._connector.disconnect(channel)
