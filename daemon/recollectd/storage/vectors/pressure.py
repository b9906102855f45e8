"""Whether a space takes more vectors now, and when to ask again if not."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

RETRY_MS_MIN: Final = 100
RETRY_MS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Pressure:
    """Why a space takes no more vectors now. reason: for people; retry_after_ms: when there will be room, about."""

    reason: str
    retry_after_ms: int


class MergeClock:
    """How far the merge under way is, and how long it will take: written by one thread, read by any."""

    def __init__(self) -> None:
        self.done = 0
        self.total = 0
        self.rows_merged = 0
        self.rows_saved = 0
        self.merges = 0
        self.seconds = 0.0
        self._since_s = 0.0

    def begin(self) -> None:
        """A merge begins."""
        self.done, self.total, self._since_s = 0, 0, time.monotonic()

    def progress(self, done: int, total: int) -> None:
        """So many of so many rows are entered."""
        self.done, self.total = done, total

    def end(self, saved: int) -> None:
        """The merge has ended well. saved: rows that one that was cut off had entered before."""
        self.rows_saved += saved
        self.merges += 1
        self.rows_merged += self.total
        self.seconds += time.monotonic() - self._since_s
        self.done, self.total = 0, 0

    @property
    def rows_per_s(self) -> float:
        """How many rows a second merges have entered so far, 0 before the first."""
        return self.rows_merged / self.seconds if self.seconds else 0.0

    @property
    def left_s(self) -> float | None:
        """In how many seconds the merge under way will have ended; None when that cannot be told or there is none."""
        done, total = self.done, self.total
        return (time.monotonic() - self._since_s) * (total - done) / done if done else None

    def retry_after_ms(self) -> int:
        """Return when to ask again: when the merge under way will have ended, but within bounds."""
        left_s = self.left_s
        if left_s is None:
            return RETRY_MS_MAX // 10
        return int(min(RETRY_MS_MAX, max(RETRY_MS_MIN, left_s * 1000)))
