"""Erasing: after it, no file of the views holds a byte of what was deleted or replaced before.

Deletions mark rows as dead, and merges leave them behind when they come by; erasing writes anew every file that still
has some. It happens when it is asked for and, if something changed since, every so often.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from recollectd.protocol.messages.erasing import ErasureState
from recollectd.storage.vectors.errors import BuildFailed, FileDamaged

log = logging.getLogger("recollectd.views")

RETRY_S: Final = 60.0


class Erasing:
    """When `compact` is called, on a thread of the caller's. told: the last commit that the views know.

    interval_s: 0 for only when asked.
    """

    def __init__(self, compact: Callable[[], None], told: Callable[[], int], interval_s: int) -> None:
        self._compact = compact
        self._told = told
        self._interval_s = interval_s
        self._state = threading.Condition()
        self._asked_seq = 0
        self._erased_seq = 0
        self._running = False
        self._failure = ""
        self._ending = False

    def end(self) -> None:
        """Let `run` return; what is under way must be made to end by whoever runs it."""
        with self._state:
            self._ending = True
            self._state.notify_all()

    def ask(self) -> ErasureState:
        """Ask that what the views know to be deleted by now be erased; return how that stands."""
        with self._state:
            self._asked_seq = max(self._asked_seq, self._told())
            self._state.notify_all()
        return self.state

    @property
    def state(self) -> ErasureState:
        """How it stands."""
        with self._state:
            return ErasureState(self._asked_seq, self._erased_seq, self._running, self._failure)

    def run(self) -> None:
        """Erase whenever it is time to, until `end`."""
        began, retry = time.monotonic(), False
        while True:
            with self._state:
                self._running = False
                self._state.wait_for(lambda: self._ending or self._is_asked, self._patience_s(began, retry=retry))
                if self._ending:
                    return
                seq = self._told()
                if seq <= self._erased_seq:
                    self._erased_seq, retry, began = max(seq, self._asked_seq), False, time.monotonic()
                    continue
                self._running = True
            began = time.monotonic()
            failure = self._erase()
            retry = bool(failure)
            with self._state:
                self._failure = failure
                if not failure:
                    self._erased_seq = seq

    @property
    def _is_asked(self) -> bool:
        return self._asked_seq > self._erased_seq and not self._failure

    def _patience_s(self, began: float, *, retry: bool) -> float | None:
        wait_s = RETRY_S if retry else float(self._interval_s)
        return max(0.0, began + wait_s - time.monotonic()) if wait_s else None

    def _erase(self) -> str:
        """Erase, and return why it could not be done: it is tried again then."""
        try:
            self._compact()
        except (OSError, BuildFailed, FileDamaged) as error:
            if not self._ending:
                log.warning("what was deleted cannot be erased from the views now: %s", error)
            return str(error) or type(error).__name__
        return ""
