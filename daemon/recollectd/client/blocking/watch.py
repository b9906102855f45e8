"""Watching from a thread."""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from types import TracebackType
from typing import Any, Self

from recollectd.client.blocking.channel import Channel
from recollectd.client.blocking.engine import Engine
from recollectd.client.results import Change
from recollectd.client.retry import Backoff, worth_retrying
from recollectd.client.watching import WatchState
from recollectd.protocol import errors, table


class Watch:
    """Changes as they happen, over a connection of its own; an iterator for one thread.

    When it comes back from its constructor the watch is in place. A lost connection is replaced and nothing is left
    out or told twice; no daemon for the client's timeout raises DaemonUnavailable, and Resync says that changes were
    missed. `close`, from any thread, ends the iteration; closing the client ends it with ClientClosed.
    """

    def __init__(self, engine: Engine, state: WatchState) -> None:
        self._engine = engine
        self._state = state
        self._changes: deque[Change] = deque()
        self._channel: Channel[Any] | None = None
        self._using = threading.RLock()  # held while the channel is used or replaced: a descriptor must not be reused
        self._failure: errors.RecollectdError | None = None  # met behind the changes that wait to be taken
        self._closed = False
        engine.pool.watches.add(self.close)
        try:
            with self._using:
                self._subscribe()
        except BaseException:
            self.close()
            raise

    @property
    def position(self) -> int:
        """The position to watch from later, to be told what comes behind the changes taken so far."""
        assert self._state.position is not None, "known since the watch is in place"
        # One commit can make several changes: not all of them may have been taken.
        return self._changes[0].position - 1 if self._changes else self._state.position

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        """Wait for the next change."""
        while not self._changes:
            self._engine.pool.check_usable()
            with self._using:
                if self._closed:
                    raise StopIteration
                if self._failure is not None:
                    self._recover(self._failure)
                    continue  # closed meanwhile, perhaps
                try:
                    self._receive(None)
                except errors.RecollectdError as error:
                    self._failure = error
        return self._changes.popleft()

    def close(self) -> None:
        """End the watch."""
        self._closed = True
        self._engine.pool.watches.discard(self.close)
        if self._channel is not None:
            self._channel.interrupt()
        with self._using:
            if self._channel is not None:
                self._engine.pool.disconnect(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self, deadline: float | None) -> None:
        assert self._channel is not None
        for answer in self._channel.receive(deadline):
            self._changes.extend(self._state.take(answer.reply))

    def _recover(self, failure: errors.RecollectdError) -> None:
        """Subscribe anew after a loss; what is none ends the watch."""
        self._failure = None
        try:
            if not worth_retrying(failure):
                raise failure
            self._subscribe()
        except BaseException:
            self.close()
            raise

    def _subscribe(self) -> None:
        """Have the watch put in place, within the client's timeout."""
        pool = self._engine.pool
        deadline = monotonic() + self._engine.timeout
        backoff = Backoff()
        while not self._closed:
            try:
                self._begin(deadline)
                return
            except errors.RecollectdError as error:
                pool.check_usable()
                delay_s = backoff.delay_s(error)
                if monotonic() + delay_s >= deadline:
                    raise
            pool.pause(delay_s)

    def _begin(self, deadline: float) -> None:
        """Subscribe over a new connection."""
        pool = self._engine.pool
        if self._channel is not None:
            pool.disconnect(self._channel)
        self._channel = channel = pool.connect(deadline)
        assert channel.core.welcome is not None
        request = self._state.request(channel.core.welcome)
        channel.send_all(channel.core.send(None, table.encode(request)), deadline)
        self._state.in_place = False
        while not self._state.in_place:
            self._receive(deadline)
