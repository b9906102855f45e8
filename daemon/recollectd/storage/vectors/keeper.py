"""The view's own thread: merges what is due, one after the other, and asks samples of searches again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

logger: Final = logging.getLogger(__name__)

# After a failed merge (a full disk, say) the next attempt waits so long.
FAILURE_PAUSE_S: Final = 10.0
# So often it is looked whether anything has changed since the look before.
QUIET_S: Final = 5.0


class Keeper:
    """step: does one thing that is due and says whether there was one; it is told whether it was quiet for a while, so
    that things may be done that were not worth it before. stop: makes a step that is under way end.
    """

    def __init__(self, step: Callable[[bool], bool], stop: Callable[[], None]) -> None:
        self._step = step
        self._stop = stop
        self._wake = threading.Event()
        self._closing = threading.Event()
        self.failures = 0
        self._thread = threading.Thread(target=self._run, name="vectors", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    def close(self) -> None:
        """End the step that is under way, and the thread."""
        self._closing.set()
        self._wake.set()
        self._stop()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            quiet = not self._wake.wait(QUIET_S)
            self._wake.clear()
            try:
                while not self._closing.is_set() and self._step(quiet):
                    pass
            except Exception:
                if self._closing.is_set():
                    return
                self.failures += 1
                logger.exception("vectors: a merge failed; nothing is lost, and it is tried again")
                self._closing.wait(FAILURE_PAUSE_S)
                self._wake.set()
