"""How long the event loop was held up, and by what: everybody waits meanwhile.

A timer that is due every few milliseconds tells how late it was. What the loop's thread spent in the run queue of a
busy machine is not held against the daemon (`/proc/thread-self/schedstat`); the longest of the steps that were timed
meanwhile is named as the cause.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

_INTERVAL_S: Final = 0.01
_WINDOW_S: Final = 60.0
_SCHEDSTAT: Final = "/proc/thread-self/schedstat"
_SCHEDSTAT_BYTES_MAX: Final = 128


class Freeze(NamedTuple):
    """One time the loop was held up: for how long, in seconds, and by what."""

    seconds: float
    cause: str


_NONE: Final = Freeze(0.0, "")


class FreezeWatch:
    """Measures the loop's freezes. Lives on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due = 0.0
        self._waited_s = 0.0
        self._step = _NONE  # the longest timed one since the last tick
        self._timer: asyncio.TimerHandle | None = None
        self._schedstat = -1
        self._collection_began = 0.0
        self._window_began = loop.time()
        self._this_window = self._last_window = _NONE
        self.longest = _NONE  # since the start

    def start(self) -> None:
        """Begin to measure, from the loop's own thread."""
        gc.callbacks.append(self._on_collection)
        with contextlib.suppress(OSError):
            self._schedstat = os.open(_SCHEDSTAT, os.O_RDONLY | os.O_CLOEXEC)
        self._waited_s = self._run_queue_wait_s()
        self._schedule()

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            gc.callbacks.remove(self._on_collection)
            self._timer = None
            if self._schedstat >= 0:
                os.close(self._schedstat)

    @contextmanager
    def step(self, cause: str) -> Iterator[None]:
        """Time a step that holds the loop up."""
        began = self._loop.time()
        try:
            yield
        finally:
            self.note(cause, self._loop.time() - began)

    def note(self, cause: str, seconds: float) -> None:
        """A step has held the loop up for so long."""
        if seconds > self._step.seconds:
            self._step = Freeze(seconds, cause)

    @property
    def recent(self) -> Freeze:
        """The longest of this minute and the one before."""
        return max(self._this_window, self._last_window)

    def _schedule(self) -> None:
        self._due = self._loop.time() + _INTERVAL_S
        self._timer = self._loop.call_later(_INTERVAL_S, self._tick)

    def _tick(self) -> None:
        now, waited_s = self._loop.time(), self._run_queue_wait_s()
        late = now - self._due - (waited_s - self._waited_s)
        step, self._step, self._waited_s = self._step, _NONE, waited_s
        if now - self._window_began > _WINDOW_S:
            self._window_began = now
            self._last_window, self._this_window = self._this_window, _NONE
        if late > self._this_window.seconds:
            # A step shorter than half of it is not what it was.
            freeze = Freeze(late, step.cause if step.seconds > late / 2 else "requests")
            self._this_window = freeze
            self.longest = max(self.longest, freeze)
        self._schedule()

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collection_began = self._loop.time()
        else:
            self.note(f"garbage collection {info['generation']}", self._loop.time() - self._collection_began)

    def _run_queue_wait_s(self) -> float:
        """Return how long this thread has waited for a processor in all; 0 where the kernel does not say."""
        if self._schedstat < 0:
            return 0.0
        return int(os.pread(self._schedstat, _SCHEDSTAT_BYTES_MAX, 0).split()[1]) / 1e9
