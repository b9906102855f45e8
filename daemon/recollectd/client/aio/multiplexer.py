"""All calls of an asyncio client over one connection: queue, attempts, and the outcome of each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from operator import attrgetter
from time import monotonic
from typing import Final, TypeAlias

from recollectd.client.aio.channel import Channel
from recollectd.client.aio.connector import Connector
from recollectd.client.core import Answer
from recollectd.client.reading import decoder_of
from recollectd.client.retry import Backoff, worth_retrying
from recollectd.client.session import Operation, out_of_time
from recollectd.client.targets import same_record
from recollectd.protocol import errors
from recollectd.protocol.messages.fields import Message


class AsyncOperation(Operation):
    """A request of a call; `tell` is called with it when its outcome is there.

    ordered: what is sent about the same record behind it must not get in front of it. order: rises with each operation
    submitted. sent_at: monotonic seconds, 0 while it is not in flight.
    """

    order = 0
    sent_at = 0.0

    def __init__(
        self,
        request: Message,
        deadline: float,
        tell: Callable[[AsyncOperation], None],
        *,
        durable: bool,
        ordered: bool = False,
        held_for: bool = False,
    ) -> None:
        super().__init__(request, deadline, durable=durable)
        self.tell = tell
        self.ordered = ordered
        self.held_for = held_for


OperationChannel: TypeAlias = Channel[AsyncOperation]

_in_order: Final = attrgetter("order")

_SWEEP_S_MIN: Final = 0.02
"""A sweep looks at every unfinished operation, so there are not more of them in a second than it can bear."""


class Multiplexer:
    """A queue of operations, and the connection that carries them out, opened when there are any.

    Operations are sent in the order they were submitted, also when a lost connection makes it necessary to send them
    again. What the daemon refuses for now is sent again a little later; where its order matters, so is what follows it.
    """

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self._session = connector.session
        self._channel: OperationChannel | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._failure: errors.RecollectdError | None = None  # what keeps operations from being carried out, if known
        self._order = count(1)
        self._gathering: list[Callable[[], None]] = []
        self._unfinished: set[AsyncOperation] = set()
        self._held_for = 0  # how many of them ordered writes wait for
        self._queue: deque[AsyncOperation] = deque()
        self._put_off: list[AsyncOperation] = []
        self._refusals = Backoff()
        self._order_held = False  # an ordered operation is put off: those behind it wait, too
        self._resuming: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._sweep_at = 0.0

    def gather(self, send: Callable[[], None]) -> None:
        """Have a function called that submits what it has gathered: before anything else is, and in this turn."""
        if not self._gathering:
            asyncio.get_running_loop().call_soon(self._send_gathered)
        self._gathering.append(send)

    def _send_gathered(self) -> None:
        gathering, self._gathering = self._gathering, []
        for send in gathering:
            send()

    def submit(self, operation: AsyncOperation, *, first: bool = False) -> None:
        """Have an operation carried out; `first`: in front of what has not been sent yet."""
        if self._gathering:
            self._send_gathered()
        operation.order = next(self._order)
        self._unfinished.add(operation)
        self._held_for += operation.held_for
        if first:
            self._queue.appendleft(operation)
        else:
            self._queue.append(operation)
        if self._sweeping is None or operation.deadline < self._sweep_at:
            self._sweep_later(operation.deadline)
        self._pump()

    def abandon(self, operation: AsyncOperation) -> None:
        """Give up an operation whose caller was cancelled; whether a write was carried out is not known then."""
        self._unfinished.discard(operation)
        self._session.abandon(operation)
        self._pump()

    async def close(self) -> None:
        """Close the connections; every call under way gets ClientClosed."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        for timer in (self._resuming, self._sweeping):
            if timer is not None:
                timer.cancel()
        await self.connector.close()
        for operation in list(self._unfinished):
            self._finish(operation, errors.ClientClosed())

    # Sending.

    def _pump(self) -> None:
        """Send what may be sent now."""
        channel = self._channel
        if channel is None:
            if self._unfinished and self._connecting is None:
                self._connecting = asyncio.get_running_loop().create_task(self._connect())
            return
        now = monotonic()
        while self._queue and channel.has_room:
            operation = self._queue[0]
            if operation.ordered and self._order_held:
                self._put_off.append(operation)
            elif operation.ordered and operation.is_write and self._held_for:
                return
            elif operation in self._unfinished:  # else its caller has given up
                if not channel.core.has_room(operation.body):
                    return
                try:
                    if not self._session.admit(operation):
                        return
                except errors.OutcomeUnknown as error:
                    self._finish(operation, error)
                else:
                    header, decode = self._session.header(operation, now), decoder_of(operation.request)
                    channel.write(channel.core.send(operation, operation.body, header, decode))
                    operation.sent_at = now
            self._queue.popleft()

    def _send_first(self, operations: Iterable[AsyncOperation]) -> None:
        """Put operations in front of the queue, in their order."""
        self._queue.extendleft(sorted(operations, key=_in_order, reverse=True))

    # Receiving.

    def _answered(self, answers: list[Answer[AsyncOperation]]) -> None:
        for index, answer in enumerate(answers, 1):
            operation = answer.token
            operation.sent_at = 0.0
            refusal = self._session.answer(operation, answer.position, answer.reply)
            if refusal is None:
                self._finish(operation, None)
            elif operation in self._unfinished:
                # Answers about one record come in the order of its requests: later ones are still to be seen.
                in_flight = self._channel.core.in_flight if self._channel is not None else ()
                self._refused(operation, refusal, [*(each.token for each in answers[index:]), *in_flight])
        self._pump()

    def _refused(
        self, operation: AsyncOperation, refusal: errors.RecollectdError, others: Iterable[AsyncOperation]
    ) -> None:
        """Put an operation off, unless one of those behind it is about the same record and must not get in front."""
        if (
            operation.ordered
            and not operation.held_for
            and any(
                other.ordered and other.order > operation.order and same_record(operation.request, other.request)
                for other in others
            )
        ):
            self._finish(operation, refusal)
            return
        self._failure = refusal
        self._put_off.append(operation)
        self._order_held = self._order_held or operation.ordered
        if self._resuming is None:
            delay_s = self._refusals.delay_s(refusal)
            self._resuming = asyncio.get_running_loop().call_later(delay_s, self._resume)

    def _resume(self) -> None:
        """Send again what was put off, and then the rest."""
        self._resuming, self._order_held = None, False
        put_off, self._put_off = self._put_off, []
        self._send_first(put_off)
        self._pump()

    def _finish(self, operation: AsyncOperation, error: errors.RecollectdError | None) -> None:
        if operation not in self._unfinished:
            return
        self._unfinished.discard(operation)
        if error is not None:
            operation.error = error
            self._session.abandon(operation)
        elif self._failure is not None:
            self._failure = None
            self._refusals = Backoff()
        operation.tell(operation)
        self._held_for -= operation.held_for  # behind what it was told to: that may be more of the same

    # Connecting.

    async def _connect(self) -> None:
        """Open the connection, trying until nobody waits for it any more."""
        backoff = Backoff()
        try:
            while self._unfinished:
                try:
                    channel = await self.connector.connect(self._answered, self._lost, self._pump)
                    if channel.is_open:  # else it was lost while this task waited for its turn
                        self._channel = channel
                        self._failure = None
                        break
                except errors.RecollectdError as error:
                    self._failure = error
                    if not worth_retrying(error):
                        for operation in list(self._unfinished):
                            self._finish(operation, error)
                        break
                    await asyncio.sleep(backoff.delay_s(error))
        finally:
            self._connecting = None
        self._pump()

    def _lost(self, failure: errors.RecollectdError) -> None:
        """Have what was in flight sent again over another connection; whether it was carried out is in doubt."""
        channel, self._channel = self._channel, None
        if channel is None:
            return
        self._failure = failure
        cut_off = [operation for operation in channel.core.in_flight if operation in self._unfinished]
        for operation in cut_off:
            operation.in_doubt, operation.sent_at = True, 0.0
        put_off, self._put_off = self._put_off, []
        self._order_held = False
        self._send_first([*cut_off, *put_off])
        self._pump()

    # Time.

    def _sweep_later(self, deadline: float) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._sweep_at = deadline
        self._sweeping = asyncio.get_running_loop().call_later(max(deadline - monotonic(), 0), self._sweep)

    def _sweep(self) -> None:
        """Tell the callers whose time is up. One timer serves all calls: few of them ever get here."""
        self._sweeping = None
        now = monotonic()
        silent_since = now
        for operation in [operation for operation in self._unfinished if operation.deadline <= now]:
            if operation.sent_at:
                operation.in_doubt = True
                silent_since = min(silent_since, operation.sent_at)
            self._finish(operation, out_of_time(operation, self._failure))
        if self._channel is None:
            # While no daemon answers nothing leaves the queue: what was given up must not pile up in it.
            self._queue = deque(operation for operation in self._queue if operation in self._unfinished)
        if self._unfinished and self._sweeping is None:
            earliest = min(operation.deadline for operation in self._unfinished)
            self._sweep_later(max(earliest, now + _SWEEP_S_MIN))
        channel = self._channel
        if channel is not None and channel.received_at < silent_since < now:
            # Not a word since a request that has timed out was sent: perhaps nobody is there any more.
            channel.fail(errors.ConnectionLost("the daemon has been silent for a call's whole timeout"))
        self._pump()
