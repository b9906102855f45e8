"""Writes collected for one frame, for batches and transactions of either face; no I/O."""

from __future__ import annotations

from typing import Any, cast

from recollectd.client.calls import Batching, Call, Walk
from recollectd.client.handles import Handle
from recollectd.client.kinds.everything import Everything
from recollectd.client.session import from_reply
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import transactions as messages
from recollectd.protocol.messages.connection import ErrorReply
from recollectd.protocol.messages.fields import Reply


class Writes:
    """Operations in order, and how their replies become results."""

    def __init__(self) -> None:
        self._calls: list[Call[Any]] = []

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call[Any]) -> None:
        """Collect a write. Raises TooLarge beyond what one frame may carry."""
        if len(self._calls) == limits.OPERATIONS_PER_FRAME_MAX:
            raise errors.TooLarge(f"one commit carries at most {limits.OPERATIONS_PER_FRAME_MAX} operations")
        self._calls.append(call)

    @property
    def operations(self) -> tuple[messages.Operation, ...]:
        """The operations as a frame carries them."""
        # The decorator `operation` marks exactly the calls whose requests are operations; a test holds it so.
        return tuple(cast(messages.Operation, call.request) for call in self._calls)

    def convert(self, results: tuple[Reply, ...]) -> list[Any]:
        """Return the results in order; an exception for each operation that was refused."""
        return [
            from_reply(reply) if isinstance(reply, ErrorReply) else call.convert(reply)
            for call, reply in zip(self._calls, results, strict=True)
        ]


class BatchFace:
    """Collects writes and gives handles for them."""

    works_apart = False

    def __init__(self) -> None:
        self.writes = Writes()
        self.handles: list[Handle[Any]] = []
        self.closed = False

    def query(self, call: Call[Any]) -> Any:
        """Refuse."""
        raise errors.InvalidArgument("a batch carries writes only; read with the client or a pipeline")

    def walk(self, call: Walk[Any]) -> Any:
        """Refuse."""
        self.query(call)

    def command(self, call: Call[Any]) -> Any:
        """Refuse."""
        raise errors.InvalidArgument(f"{type(call.request).__name__} cannot be part of a batch; send it by itself")

    def operation(self, call: Call[Any]) -> Any:
        """Collect a write."""
        if self.closed:
            raise errors.InvalidArgument("the batch has been sent already")
        self.writes.add(call)
        handle: Handle[Any] = Handle(_not_sent, call)
        self.handles.append(handle)
        return handle


def _not_sent() -> None:
    raise errors.InvalidArgument("the batch is sent at the end of its `with` block; its results are there after it")


class Batch(Everything[Batching]):
    """Writes that go out in one frame and become durable in one commit, each carried out or refused on its own.

    Its methods return handles; `results` has all results in order, exceptions for what was refused. At the end of the
    `with` block the first refusal is raised, unless the batch was made with `raises=False`. An exception inside the
    block sends nothing.
    """

    def __init__(self, face: BatchFace, namespace: tuple[str, ...], *, raises: bool) -> None:
        super().__init__(face, namespace)
        self._batch = face
        self._raises = raises
        self._results: list[Any] = []

    @property
    def results(self) -> list[Any]:
        """The results in order, after the block."""
        return self._results

    def close(self) -> Call[None] | None:
        """End collecting and return the call that sends what was collected, None if there is nothing."""
        self._batch.closed = True
        if not self._batch.writes:
            return None
        return Call(messages.Batch(self._batch.writes.operations), self._settle)

    def _settle(self, reply: messages.Results) -> None:
        results = self._batch.writes.convert(reply.results)
        for handle, result in zip(self._batch.handles, results, strict=True):
            if isinstance(result, Exception):
                handle.fail(result)
            else:
                handle.settle(result)
        self._results[:] = results

    def fail(self, error: Exception) -> None:
        """Give the error that the whole batch met to each of its handles."""
        for handle in self._batch.handles:
            handle.fail(error)

    def raise_refusals(self) -> None:
        """Raise the first refusal, if that is wanted."""
        refused = [result for result in self._results if isinstance(result, Exception)]
        if refused and self._raises:
            raise refused[0]
