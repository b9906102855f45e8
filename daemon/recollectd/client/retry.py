"""When and how often to try again."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from recollectd.protocol import errors

DELAY_S_FIRST: Final = 0.01
DELAY_S_MAX: Final = 1.0
CONFLICT_S_MAX: Final = 0.25


def random_fraction() -> float:
    """Return a number from 0 up to 1. (The module `random` alone takes as long to import as the rest of the client.)"""
    return int.from_bytes(os.urandom(4), "little") / 2**32


class Backoff:
    """The waits between one call's attempts: doubling with jitter, or as long as the daemon asked for.

    A connection that was open and is lost is replaced at once the first time: mostly it had been idle too long.
    """

    def __init__(self, fraction: Callable[[], float] = random_fraction) -> None:
        self._fraction = fraction
        self._attempts = 0
        self._lost = False

    def delay_s(self, failure: errors.RecollectdError) -> float:
        """Return how long to wait after a failure. Raises it if another attempt cannot help."""
        if not worth_retrying(failure):
            raise failure
        if isinstance(failure, errors.ConnectionLost) and not self._lost:
            self._lost = True
            return 0.0
        self._attempts += 1
        if failure.retry_after_ms:
            return failure.retry_after_ms / 1_000 * (1 + self._fraction() / 4)
        # Half is fixed, so that attempts thin out; half is chance, so that clients which failed together do not
        # return together.
        longest = min(DELAY_S_FIRST * (1 << min(self._attempts - 1, 16)), DELAY_S_MAX)
        return longest * (0.5 + self._fraction() / 2)


def worth_retrying(failure: errors.RecollectdError) -> bool:
    """Tell whether the same request may succeed a little later."""
    if isinstance(failure, errors.DaemonUnavailable):
        # Without a cause it is the last word of whoever was to start one.
        return failure.__cause__ is not None and not isinstance(failure.__cause__, PermissionError)
    return isinstance(failure, (errors.ConnectionLost, errors.Busy, errors.ShuttingDown, errors.TooManyConnections))


def conflict_delay_s(attempt: int, fraction: Callable[[], float] = random_fraction) -> float:
    """Return how long to wait before a transaction's next attempt: those that met must not meet again."""
    longest = min(0.002 * (1 << min(attempt, 16)), CONFLICT_S_MAX)
    return longest * fraction()
