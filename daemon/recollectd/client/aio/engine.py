"""Carries calls out for coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from recollectd.client.aio.apart import embed_apart, rank_apart
from recollectd.client.aio.multiplexer import AsyncOperation, Multiplexer
from recollectd.client.calls import Call
from recollectd.client.embedding import Texts
from recollectd.client.reranking import Unranked
from recollectd.protocol.messages.fields import Message, Reply

T = TypeVar("T")


class Received(NamedTuple):
    """A reply and the journal position in its header."""

    position: int
    reply: Reply


class Engine:
    """A multiplexer, and how its operations are carried out: within `timeout` seconds, `durable` before the reply."""

    def __init__(self, multiplexer: Multiplexer, timeout: float, *, durable: bool) -> None:
        self.multiplexer = multiplexer
        self.timeout = timeout
        self.durable = durable

    async def perform(self, call: Call[T]) -> T:
        """Carry out a call, request after request, and return its result."""
        while True:
            outcome: Any
            if isinstance(call.request, Texts):
                outcome = call.convert(await embed_apart(call.request))
            elif isinstance(call.request, Unranked):
                outcome = call.convert(await rank_apart(call.request))
            else:
                outcome = call.convert((await self.ask(call.request)).reply)
            if type(outcome) is not Call:
                result: T = outcome
                return result
            call = outcome

    async def ask(self, request: Message) -> Received:
        """Carry out one request and return its reply, or raise its error."""
        self.multiplexer.connector.check_usable()
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def tell(_: AsyncOperation) -> None:
            if not answered.done():
                answered.set_result(None)

        operation = self.submit(request, tell)
        try:
            await answered
        except asyncio.CancelledError:
            self.multiplexer.abandon(operation)
            raise
        return outcome_of(operation)

    def submit(
        self,
        request: Message,
        tell: Callable[[AsyncOperation], None],
        *,
        ordered: bool = False,
        held_for: bool = False,
        first: bool = False,
    ) -> AsyncOperation:
        """Have a request sent; `tell` is called when it is done. Raises ClientClosed, UsedAfterFork.

        ordered, held_for: see AsyncOperation; first: in front of what has not been sent yet.
        """
        self.multiplexer.connector.check_usable()
        deadline = monotonic() + self.timeout
        operation = AsyncOperation(request, deadline, tell, durable=self.durable, ordered=ordered, held_for=held_for)
        self.multiplexer.submit(operation, first=first)
        return operation


def outcome_of(operation: AsyncOperation) -> Received:
    """Return a done operation's reply, or raise its error."""
    if operation.error is not None:
        raise operation.error
    assert operation.reply is not None
    return Received(operation.position, operation.reply)
