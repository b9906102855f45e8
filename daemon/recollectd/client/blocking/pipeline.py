"""Pipelines: many calls in few system calls."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

from recollectd.client.blocking.engine import Engine
from recollectd.client.calls import Call, Pipelining, Walk
from recollectd.client.handles import Handle
from recollectd.client.kinds.everything import Everything
from recollectd.client.session import Operation
from recollectd.protocol import errors

CALLS_GATHERED: Final = 1_000
BYTES_GATHERED: Final = 1024 * 1024
"""So many calls or bytes are sent without being asked for: well within a connection's bounds, enough to be quick."""


class PipelineFace:
    """Calls are collected, sent together, and answered through handles."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._collected: list[tuple[Operation, Call[Any], Handle[Any]]] = []
        self._bytes = 0
        self.failed: list[Handle[Any]] = []

    def query(self, call: Call[Any]) -> Any:
        """Collect a call and return its handle."""
        handle: Handle[Any] = Handle(self.flush)
        self._collect(call, handle)
        if len(self._collected) >= CALLS_GATHERED or self._bytes >= BYTES_GATHERED:
            self.flush()
        return handle

    operation = command = query

    def walk(self, call: Walk[Any]) -> Any:
        """Refuse."""
        raise errors.InvalidArgument("a walk waits for each page before the next; it cannot be part of a pipeline")

    def _collect(self, call: Call[Any], handle: Handle[Any]) -> None:
        operation = self._engine.operation(call.request)
        self._collected.append((operation, call, handle))
        self._bytes += len(operation.body)

    def discard(self) -> None:
        """Send nothing of what was collected."""
        for _, _, handle in self._collected:
            handle.fail(errors.InvalidArgument("the call was not sent: the pipeline's block ended with an exception"))
        self._collected.clear()

    def flush(self) -> None:
        """Send what was collected and wait for all of it.

        No write stays unanswered while the caller does other things: it would hold up the client's other threads,
        whose numbers may not run far ahead of it.
        """
        while self._collected:
            sent, self._collected, self._bytes = self._collected, [], 0
            deadline = self._engine.deadline()
            for operation, _, _ in sent:
                operation.deadline = deadline
            try:
                self._engine.run([operation for operation, _, _ in sent])
            finally:
                for operation, call, handle in sent:
                    self._settle(operation, call, handle)

    def _settle(self, operation: Operation, call: Call[Any], handle: Handle[Any]) -> None:
        try:
            if operation.reply is None:
                raise operation.error or errors.ConnectionLost("interrupted before the reply came")
            outcome = call.convert(operation.reply)
            if type(outcome) is Call:
                self._collect(outcome, handle)
            else:
                handle.settle(outcome)
        except Exception as error:
            handle.fail(error)
            self.failed.append(handle)


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
