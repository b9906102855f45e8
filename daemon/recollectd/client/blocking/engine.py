"""Carries operations out for threads: connections, attempts, and the outcome of each."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from recollectd.client.blocking.exchange import Exchange
from recollectd.client.blocking.pool import Pool
from recollectd.client.calls import Call
from recollectd.client.retry import Backoff
from recollectd.client.session import Operation, out_of_time
from recollectd.protocol import errors
from recollectd.protocol.messages.fields import Message, Reply

T = TypeVar("T")


class Received(NamedTuple):
    """A reply and the journal position in its header."""

    position: int
    reply: Reply


class Engine:
    """A pool, and how its operations are to be carried out: within `timeout` seconds, `durable` before the reply."""

    def __init__(self, pool: Pool, timeout: float, *, durable: bool) -> None:
        self.pool = pool
        self.timeout = timeout
        self.durable = durable

    def perform(self, call: Call[T]) -> T:
        """Carry out a call, request after request, and return its result."""
        while True:
            outcome: Any = call.convert(self.ask(call.request).reply)
            if type(outcome) is not Call:
                result: T = outcome
                return result
            call = outcome

    def ask(self, request: Message) -> Received:
        """Carry out one request and return its reply, or raise its error."""
        operation = self.operation(request)
        self.run([operation])
        if operation.error is not None:
            raise operation.error
        assert operation.reply is not None
        return Received(operation.position, operation.reply)

    def operation(self, request: Message) -> Operation:
        """Return a request as an operation whose time begins now."""
        return Operation(request, self.deadline(), durable=self.durable)

    def deadline(self) -> float:
        """Return when a call that begins now is given up, in monotonic seconds."""
        return monotonic() + self.timeout

    def run(self, operations: Sequence[Operation]) -> None:
        """Carry out operations in order, over as many connections and attempts as it takes; each ends with an outcome.

        Raises only what is no outcome of an operation, such as KeyboardInterrupt; what is unfinished is abandoned.
        """
        backoff: Backoff | None = None
        deadline = operations[0].deadline
        unfinished = operations
        try:
            while (failure := self._attempt(unfinished, deadline)) is not None:
                unfinished = [operation for operation in unfinished if not operation.done]
                if not unfinished:
                    return
                backoff = backoff or Backoff()
                delay_s = backoff.delay_s(failure)
                if monotonic() + delay_s >= deadline:
                    break
                if delay_s:
                    self.pool.pause(delay_s)
            else:
                return  # an attempt without a failure finishes everything
            for operation in unfinished:
                operation.error = out_of_time(operation, failure)
        except errors.RecollectdError as error:
            late = isinstance(error, errors.RequestTimeout)
            for operation in unfinished:
                if not operation.done:
                    operation.error = out_of_time(operation, error) if late else error
        finally:
            self._abandon(operations)

    def _attempt(self, operations: Sequence[Operation], deadline: float) -> errors.RecollectdError | None:
        """Try once on one connection. Returns what kept it from finishing everything."""
        try:
            channel = self.pool.lease(deadline)
        except errors.RecollectdError as error:
            return error
        exchange = Exchange(self.pool, channel, operations)
        try:
            exchange.run(deadline)
        except BaseException as error:
            for operation in channel.core.in_flight:
                operation.in_doubt = True
            self.pool.discard(channel)
            if not isinstance(error, errors.RecollectdError):
                raise
            self.pool.check_usable()  # interrupted by close: that is why
            return error
        self.pool.give_back(channel)
        return exchange.refusal

    def _abandon(self, operations: Sequence[Operation]) -> None:
        abandoned = [operation for operation in operations if operation.number and operation.reply is None]
        if abandoned:
            with self.pool.lock:
                for operation in abandoned:
                    self.pool.session.abandon(operation)
                self.pool.tell_of_room()
