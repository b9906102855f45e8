"""Waiting for a state that another thread or process brings about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_WAIT_S_MAX: Final = 60.0
_POLL_S: Final = 0.005


def until(condition: Callable[[], object]) -> None:
    """Return when the condition holds; fail when it does not come to hold."""
    deadline = time.monotonic() + _WAIT_S_MAX
    while not condition():
        assert time.monotonic() < deadline, "the state that is waited for did not come"
        time.sleep(_POLL_S)
