"""Operations on their way over one connection: sent in order, answered as the daemon gets to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Final

from recollectd.client.blocking.pool import OperationChannel, Pool
from recollectd.client.reading import decoder_of
from recollectd.client.session import Operation
from recollectd.client.targets import same_record
from recollectd.protocol import errors

_SEND_BYTES: Final = 256 * 1024
"""Frames are built until so many bytes wait to be sent: one system call for many small ones."""


class Exchange:
    """Sends operations over a channel and takes their answers.

    It reads while it sends, so that neither side waits for the other to empty its buffers. What the daemon refuses for
    now (`refusal`) stops the sending: the rest is to be sent behind it, in order.
    """

    def __init__(self, pool: Pool, channel: OperationChannel, operations: Sequence[Operation]) -> None:
        self.refusal: errors.RecollectdError | None = None
        self._pool = pool
        self._channel = channel
        self._queue = deque(operations)
        self._outgoing: bytes | memoryview = b""

    def run(self, deadline: float) -> None:
        """Send and receive until all are answered, or one was refused for now and all that were sent are answered.

        Raises RequestTimeout, ConnectionLost, ProtocolError: then the channel is of no more use, and the operations in
        flight on it are in doubt.
        """
        core, channel, queue = self._channel.core, self._channel, self._queue
        while self._outgoing or (queue and self._fill(deadline)) or not core.idle:
            if self._outgoing:
                sent = channel.send(self._outgoing)
                if sent < len(self._outgoing):
                    self._outgoing = memoryview(self._outgoing)[sent:]
                    if not channel.wait(deadline):
                        continue
                else:
                    self._outgoing = b""
                    if queue:
                        continue
            self._receive(deadline)

    def _fill(self, deadline: float) -> bool:
        """Build the frames that may be sent now; tell whether there are any."""
        if self.refusal is not None:
            return False
        frames: list[bytes] = []
        size = 0
        core, session, queue = self._channel.core, self._pool.session, self._queue
        now = monotonic()
        with self._pool.lock:
            while queue and size < _SEND_BYTES and core.has_room(queue[0].body):
                operation = queue[0]
                if operation.is_write and not self._admit(operation):
                    if frames or not core.idle:
                        break
                    # The window is full of other threads' writes: their answers make room.
                    if not self._pool.wait_for_room(deadline - monotonic()):
                        raise errors.RequestTimeout("too many writes of this client are unanswered")
                    self._pool.check_usable()
                    now = monotonic()
                    continue
                queue.popleft()
                if operation.error is None:
                    header, decode = session.header(operation, now), decoder_of(operation.request)
                    frame = core.send(operation, operation.body, header, decode)
                    frames.append(frame)
                    size += len(frame)
        self._outgoing = frames[0] if len(frames) == 1 else b"".join(frames)
        return bool(frames)

    def _admit(self, operation: Operation) -> bool:
        try:
            return self._pool.session.admit(operation)
        except errors.OutcomeUnknown as error:
            operation.error = error
            return True

    def _receive(self, deadline: float) -> None:
        answers = self._channel.receive(deadline)
        if not answers:
            return
        with self._pool.lock:
            for index, answer in enumerate(answers, 1):
                operation = answer.token
                refusal = self._pool.session.answer(operation, answer.position, answer.reply)
                if refusal is not None:
                    # Answers about one record come in the order of its requests: later ones are still to be seen.
                    later = [*(each.token for each in answers[index:]), *self._channel.core.in_flight]
                    self._refuse(operation, refusal, later)
            self._pool.tell_of_room()

    def _refuse(self, operation: Operation, refusal: errors.RecollectdError, later: Sequence[Operation]) -> None:
        """Put an operation off, unless one of those behind it is about the same record and must not get in front."""
        if not operation.held_for and any(same_record(operation.request, other.request) for other in later):
            operation.error = refusal
            self._pool.session.abandon(operation)
        else:
            self.refusal = refusal
