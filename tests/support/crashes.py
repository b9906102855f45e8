"""A process that ends between two steps on the disk, without ending one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest


class Crash(BaseException):
    """What the process would not have survived."""


@contextlib.contextmanager
def crash_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Raise Crash instead of the sync, rename or new folder that follows after this many of them."""
    done = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            nonlocal done
            if done == steps:
                raise Crash
            done += 1
            return real(*arguments, **named)

        return step

    with monkeypatch.context() as patch:
        for name in ("fsync", "rename", "mkdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        yield
