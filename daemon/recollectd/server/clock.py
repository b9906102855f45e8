"""Journal time's source: the wall clock, except where it leaps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger("recollectd.clock")


class Clock:
    """Tells the time in microseconds since 1970-01-01T00:00:00Z; it never goes back while the daemon runs.

    A forward step of the wall clock against CLOCK_BOOTTIME (which also counts suspension) larger than `step_us_max`
    is not believed: records would expire that have time left. The clock then goes on from before the step and says so
    in the log and in `stepped`, until the wall clock comes back or the daemon is restarted.
    """

    def __init__(
        self,
        step_us_max: int,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
        steady_us: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000,
    ) -> None:
        self._wall_us = wall_us
        self._steady_us = steady_us
        self._step_us_max = step_us_max
        self._offset_us = wall_us() - steady_us()
        self._told_us = 0
        self.stepped = False

    def now(self) -> int:
        """Return the time."""
        steady_us = self._steady_us()
        offset_us = self._wall_us() - steady_us
        stepped = offset_us - self._offset_us > self._step_us_max
        if stepped != self.stepped:
            self.stepped = stepped
            if stepped:
                log.error(
                    "the wall clock leapt forward by %d s; expiry goes by the time before the leap. "
                    "If the new time is right, restart the daemon",
                    (offset_us - self._offset_us) // 1_000_000,
                )
            else:
                log.warning("the wall clock is back where it belongs")
        if not stepped:
            self._offset_us = offset_us
        self._told_us = max(self._told_us, steady_us + self._offset_us)
        return self._told_us
