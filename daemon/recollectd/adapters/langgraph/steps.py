"""Operations written once for both faces: generators that say what to ask the daemon, and two drivers that ask it.

A step is `Calls` (sent together, answered in order), `Listing` (walks, one after the other) or `Commit` (a transaction:
reads that it guards, then writes). The driver sends the results into the generator, or throws the daemon's error there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from threading import Lock
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from recollectd.client import AsyncClient, Client, errors

T = TypeVar("T")

Ask: TypeAlias = Callable[[Any], Any]
"""Makes one call on what it is given: a client, a pipeline or a transaction, blocking or not."""


class Calls(NamedTuple):
    """Calls that need not wait for each other; the result is the list of theirs, None for a tolerated refusal."""

    asks: Sequence[Ask]
    tolerated: tuple[type[errors.RecollectdError], ...] = ()


class Listing(NamedTuple):
    """Walks; the result is a list of lists."""

    asks: Sequence[Ask]


class Commit(NamedTuple):
    """One transaction: guarded walks, guarded reads, and a function that is given what they found and writes.

    The function is run again when what was read has changed before the commit, up to `attempts` times. The result is
    what it returned.
    """

    walks: Sequence[Ask]
    reads: Sequence[Ask]
    write: Callable[[Any, list[list[Any]], list[Any]], Any]
    attempts: int = 10


Steps: TypeAlias = Generator[Calls | Listing | Commit, Any, T]


class Faces:
    """The clients of an adapter, opened when they are first needed: one that blocks, and one for each event loop."""

    def __init__(
        self, url: str | None, namespace: Sequence[str], timeout: float, durability: Literal["sync", "async"]
    ) -> None:
        self._options: dict[str, Any] = {"namespace": namespace, "timeout": timeout, "durability": durability}
        self._url = url
        self._lock = Lock()
        self._blocking: Client | None = None
        self._awaiting: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncClient] = WeakKeyDictionary()
        # Wrong options are told here, where they were given, and not at the first call. Nothing is opened yet.
        self.namespace = Client(url, **self._options).namespace

    def run(self, steps: Steps[T]) -> T:
        """Carry out an operation with the client that blocks."""
        with self._lock:
            client = self._blocking = self._blocking or Client(self._url, **self._options)
        send: Any = steps.send
        given: Any = None
        while True:
            try:
                step = send(given)
            except StopIteration as ended:
                result: T = ended.value
                return result
            try:
                send, given = steps.send, _blocking(client, step)
            except Exception as error:
                send, given = steps.throw, error

    async def arun(self, steps: Steps[T]) -> T:
        """Carry out an operation with the client of the running event loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            client = self._awaiting.get(loop)
            if client is None:
                client = self._awaiting[loop] = AsyncClient(self._url, **self._options)
        send: Any = steps.send
        given: Any = None
        while True:
            try:
                step = send(given)
            except StopIteration as ended:
                result: T = ended.value
                return result
            try:
                send, given = steps.send, await _awaiting(client, step)
            except Exception as error:
                send, given = steps.throw, error

    def close(self) -> None:
        """Close the client that blocks."""
        with self._lock:
            client, self._blocking = self._blocking, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the running event loop's client, and the one that blocks."""
        with self._lock:
            client = self._awaiting.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()
        self.close()


def _result(handle: Any, tolerated: tuple[type[errors.RecollectdError], ...]) -> Any:
    try:
        return handle.result()
    except tolerated:
        return None


async def _aresult(handle: Any, tolerated: tuple[type[errors.RecollectdError], ...]) -> Any:
    try:
        return await handle
    except tolerated:
        return None


def _blocking(client: Client, step: Calls | Listing | Commit) -> Any:
    match step:
        case Calls(asks, tolerated):
            with client.pipeline(raises=False) as pipeline:
                handles = [ask(pipeline) for ask in asks]
            return [_result(handle, tolerated) for handle in handles]
        case Listing(asks):
            return [list(ask(client)) for ask in asks]
        case Commit(walks, reads, write, attempts):

            def function(transaction: Any) -> Any:
                found = [list(ask(transaction)) for ask in walks]
                return write(transaction, found, [ask(transaction) for ask in reads])

            return client.transact(function, attempts=attempts)


async def _awaiting(client: AsyncClient, step: Calls | Listing | Commit) -> Any:
    match step:
        case Calls(asks, tolerated):
            async with client.pipeline(raises=False) as pipeline:
                handles = [ask(pipeline) for ask in asks]
            return [await _aresult(handle, tolerated) for handle in handles]
        case Listing(asks):
            return [[item async for item in ask(client)] for ask in asks]
        case Commit(walks, reads, write, attempts):

            async def function(transaction: Any) -> Any:
                found = [[item async for item in ask(transaction)] for ask in walks]
                return write(transaction, found, [await ask(transaction) for ask in reads])

            return await client.transact(function, attempts=attempts)
