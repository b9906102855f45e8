"""The slow log: requests that took long, a bounded number of lines a second. One hold-up makes thousands of requests
slow; a line for each would hold everybody up for longer than what it tells of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

log = logging.getLogger("recollectd.slow")

LINES_PER_S_MAX: Final = 10


class SlowLog:
    """Notes requests that took longer than a threshold. Lives on the event loop; time: its clock, in seconds."""

    def __init__(self, time: Callable[[], float], threshold_ms: float) -> None:
        self._time = time
        self.threshold_s = threshold_ms / 1_000 or float("inf")
        self._second = 0
        self._lines = 0
        self._untold = 0
        self._untold_ms_max = 0.0

    def note(self, what: str, elapsed_s: float) -> None:
        """Tell of a request if it took too long, or count it if this second has had its lines."""
        if elapsed_s <= self.threshold_s:
            return
        second, elapsed_ms = int(self._time()), elapsed_s * 1_000
        if second != self._second:
            self._tell_of_the_untold()
            self._second, self._lines = second, 0
        if self._lines < LINES_PER_S_MAX:
            self._lines += 1
            log.warning("slow: %s took %.0f ms", what, elapsed_ms)
        else:
            self._untold += 1
            self._untold_ms_max = max(self._untold_ms_max, elapsed_ms)

    def _tell_of_the_untold(self) -> None:
        if self._untold:
            log.warning("slow: %d more requests, up to %.0f ms", self._untold, self._untold_ms_max)
            self._untold, self._untold_ms_max = 0, 0.0
