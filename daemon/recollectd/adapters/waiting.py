"""Blocking calls from coroutines: what adapters do whose frameworks run the same object in several event loops.

A client that blocks belongs to no loop, so a session or service made before the loop, or used in one loop after the
other (as `run_sync` of some frameworks does), works. The calls run in the loop's own threads, `asyncio.to_thread`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def read(function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> T:
    """Return what a function returns that changes nothing; a task that is cancelled does not wait for it."""
    return await asyncio.to_thread(function, *arguments, **options)


async def write(function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> T:
    """Return what a function returns that changes something; a task that is cancelled waits until it is over.

    So nothing is written behind the back of a caller who was told that the call has ended.
    """
    running = asyncio.ensure_future(asyncio.to_thread(function, *arguments, **options))
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return running.result()
    if not running.cancelled():
        running.exception()  # who has left does not hear of it, and the loop does not complain that nobody asked
    raise cancelled
