"""Pipelines: many calls in few system calls."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from recollectd.client.blocking.engine import Engine
from recollectd.client.calls import Call, Pipelining, Walk
from recollectd.client.gathering import concerns_each, gather, may_be_gathered, spread
from recollectd.client.handles import Handle
from recollectd.client.kinds.everything import Everything
from recollectd.client.session import Operation
from recollectd.protocol import errors
from recollectd.protocol.messages.fields import Reply

CALLS_GATHERED: Final = 1_000
BYTES_GATHERED: Final = 1024 * 1024
"""So many calls or bytes are sent without being asked for: well within a connection's bounds, enough to be quick."""

_Sent: TypeAlias = "tuple[Operation, Sequence[Handle[Any]]]"
"""A request and those who wait for what comes of it: one, or several gets that travel together."""


class PipelineFace:
    """Calls are collected, sent together, and answered through handles."""

    works_apart = False

    def __init__(self, engine: Engine) -> None:
        self.failed: list[Handle[Any]] = []
        self._engine = engine
        self._fetch = self.flush
        self._collected: list[_Sent] = []
        self._gets: list[Handle[Any]] = []  # behind the last write collected: they will travel together
        self._bytes = 0

    def query(self, call: Call[Any]) -> Any:
        """Collect a read and return its handle."""
        handle: Handle[Any] = Handle(self._fetch, call)
        if may_be_gathered(call.request):
            gets = self._gets
            gets.append(handle)
            if len(gets) + len(self._collected) >= CALLS_GATHERED:
                self.flush()
        else:
            self._collect(handle)
            self._flush_if_many()
        return handle

    def operation(self, call: Call[Any]) -> Any:
        """Collect a write and return its handle."""
        handle: Handle[Any] = Handle(self._fetch, call)
        for get in self._gets:
            self._collect(get)
        self._gets.clear()
        self._collect(handle)
        self._flush_if_many()
        return handle

    command = operation

    def walk(self, call: Walk[Any]) -> Any:
        """Refuse."""
        raise errors.InvalidArgument("a walk waits for each page before the next; it cannot be part of a pipeline")

    def _flush_if_many(self) -> None:
        if len(self._gets) + len(self._collected) >= CALLS_GATHERED or self._bytes >= BYTES_GATHERED:
            self.flush()

    def _collect(self, handle: Handle[Any]) -> None:
        operation = Operation(handle.call.request, 0.0, durable=self._engine.durable)
        self._collected.append((operation, (handle,)))
        self._bytes += len(operation.body)

    def discard(self) -> None:
        """Send nothing of what was collected."""
        unsent = [*self._gets, *(handle for _, handles in self._collected for handle in handles)]
        for handle in unsent:
            handle.fail(errors.InvalidArgument("the call was not sent: the pipeline's block ended with an exception"))
        self._collected.clear()
        self._gets.clear()

    def flush(self) -> None:
        """Send what was collected and wait for all of it.

        No write stays unanswered while the caller does other things: it would hold up the client's other threads,
        whose numbers may not run far ahead of it.
        """
        while self._collected or self._gets:
            sent, gets = self._collected, self._gets
            self._collected, self._gets, self._bytes = [], [], 0
            for request, handles in gather(gets):
                operation = Operation(request, 0.0)
                operation.held_for = True
                sent.append((operation, handles))
            deadline = self._engine.deadline()
            for operation, _ in sent:
                operation.deadline = deadline
            try:
                self._engine.run([operation for operation, _ in sent])
            finally:
                for operation, handles in sent:
                    self._settle(operation, handles)

    def _settle(self, operation: Operation, handles: Sequence[Handle[Any]]) -> None:
        """Give the results of one request; what goes on is collected again."""
        if len(handles) == 1:
            self._settle_one(operation, handles[0])
            return
        try:
            self._gets += spread(_reply_of(operation), handles, self._fail)
        except Exception as error:
            if concerns_each(error):
                for handle in handles:
                    self._collect(handle)
            else:
                for handle in handles:
                    self._fail(handle, error)

    def _settle_one(self, operation: Operation, handle: Handle[Any]) -> None:
        try:
            outcome = handle.call.convert(_reply_of(operation))
            if type(outcome) is Call:
                handle.call = outcome
                self._collect(handle)
            else:
                handle.settle(outcome)
        except Exception as error:
            self._fail(handle, error)

    def _fail(self, handle: Handle[Any], error: Exception) -> None:
        handle.fail(error)
        self.failed.append(handle)


def _reply_of(operation: Operation) -> Reply:
    if operation.reply is None:
        raise operation.error or errors.ConnectionLost("interrupted before the reply came")
    return operation.reply


class Pipeline(Everything[Pipelining]):
    """Calls that are sent together: each returns a handle at once.

    They go out in order, in as few system calls as it takes, whenever some have gathered, when a result is asked for,
    and at the end of the `with` block; calls about the same record are carried out in order. The end raises the first
    error that nobody asked a handle for, unless the pipeline was made with `raises=False`. After an exception inside
    the block nothing more is sent. For one thread.

    When the daemon is busy a call is put off and all behind it wait; one that later calls of the same record have
    already followed cannot be put off, and fails with Busy.
    """

    def __init__(self, face: PipelineFace, namespace: tuple[str, ...], *, raises: bool) -> None:
        super().__init__(face, namespace)
        self._pipeline = face
        self._raises = raises

    def flush(self) -> None:
        """Send what was collected and wait until it is answered."""
        self._pipeline.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._pipeline.discard()
            return
        self._pipeline.flush()
        for handle in self._pipeline.failed if self._raises else ():
            if handle.unseen_error is not None:
                raise handle.unseen_error
