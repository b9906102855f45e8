"""Makes durable what the views over memories were told, and keeps their files in order: when asked, and when due.

A view's checkpoint belongs to those of the records, but is due sooner when much was told since: what is not durable
must be told again after a crash, some 30 us a change, before anybody is answered. With `unsaved_changes_max` that is a
few seconds, whatever the journal's bounds are.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from recollectd.storage.keywords.view import Keywords
from recollectd.storage.vectors.view import VectorView

log: Final = logging.getLogger("recollectd.views")


class Saving:
    """One thread tells (`told`), any may make durable (`checkpoint`), one does what is due (`keep_one`)."""

    def __init__(self, keywords: Keywords, vectors: VectorView, unsaved_changes_max: int) -> None:
        self._keywords = keywords
        self._vectors = vectors
        self._unsaved_max = unsaved_changes_max
        # Of all changes since the start: each is written by one thread at a time.
        self._told = self._saved = 0
        self._lock = threading.Lock()

    def told(self, changes: int) -> None:
        """Note that so many more changes are in the views."""
        self._told += changes

    @property
    def unsaved(self) -> int:
        """How many changes must be told again after a crash."""
        return self._told - self._saved

    def checkpoint(self) -> bool:
        """Make everything told durable; False when that failed. On a worker thread."""
        with self._lock:
            told = self._told
            try:
                self._keywords.flush()
                self._vectors.checkpoint()
            except OSError as error:
                log.warning("the views over memories stay as they are on disk: %s", error)
                return False
            self._saved = told
            return True

    def keep_one(self) -> bool:
        """Do the most urgent of what is due; False when nothing is, or it failed and may be tried again later."""
        if self.unsaved >= self._unsaved_max:
            return self.checkpoint()
        try:
            if self._keywords.wants_flush:
                return self._keywords.flush()
            return self._keywords.wants_merge and self._keywords.merge()
        except OSError as error:
            log.warning("keywords are kept in memory for now: %s", error)
            return False
