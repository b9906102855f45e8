"""A fake daemon for each test, and both faces of the client behind one driver."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import pytest

from client.fake import FakeDaemon
from recollectd.client import AsyncClient, Client


@pytest.fixture(params=["unix", "tcp"])
def any_daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeDaemon]:
    """A fake daemon on each transport."""
    with FakeDaemon(tmp_path / "d.sock" if request.param == "unix" else None) as fake:
        yield fake


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    """A fake daemon on a Unix socket."""
    with FakeDaemon(tmp_path / "d.sock") as fake:
        yield fake


@pytest.fixture
def client(daemon: FakeDaemon) -> Iterator[Client]:
    """A blocking client of the fake daemon."""
    with Client(daemon.url, timeout=10) as opened:
        yield opened


class Driver:
    """A client of either face: `do` waits for what the function returns, whichever it is."""

    def __init__(self, face: str, url: str, **options: Any) -> None:
        self.face = face
        self._loop = asyncio.new_event_loop() if face == "asyncio" else None
        self.client: Any = self.do(lambda: AsyncClient(url, **options)) if self._loop else Client(url, **options)

    def do(self, function: Callable[[], Any]) -> Any:
        """Return a call's result."""
        if self._loop is None:
            return function()

        async def run() -> Any:
            result = function()
            return await result if inspect.isawaitable(result) else result

        return self._loop.run_until_complete(run())

    def all(self, function: Callable[[], Any]) -> list[Any]:
        """Return a walk's items."""
        if self._loop is None:
            return list(function())

        async def run() -> list[Any]:
            return [item async for item in function()]

        return self._loop.run_until_complete(run())

    def within(self, context: Any, function: Callable[[Any], Any]) -> Any:
        """Return what a function gives within a (async) context."""
        if self._loop is None:
            with context as entered:
                return function(entered)

        async def run() -> Any:
            async with context as entered:
                return function(entered)

        return self._loop.run_until_complete(run())

    def close(self) -> None:
        """Close client and loop."""
        self.do(self.client.close)
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Drive(Protocol):
    """Makes drivers of one face."""

    def __call__(
        self,
        daemon: FakeDaemon,
        *,
        timeout: float = 10.0,
        durability: Literal["sync", "async"] = "sync",
        connections_max: int = 8,
    ) -> Driver: ...


@pytest.fixture(params=["blocking", "asyncio"])
def drive(request: pytest.FixtureRequest) -> Drive:
    """Make a driver of each face."""

    def make(daemon: FakeDaemon, **options: Any) -> Driver:
        return Driver(request.param, daemon.url, **{"timeout": 10.0, **options})

    return make
