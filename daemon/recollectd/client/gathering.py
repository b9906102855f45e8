"""Reads of a pipeline that travel together: one frame, one reply, and the result of each call on its own.

Gets of records as they are now, of one namespace, are asked for by one `StateGetMany`. Only those behind the last write
of what is sent at once are gathered: a page may end early, and what is asked for again must find nothing changed by a
call that was made behind it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from recollectd.client.kinds.state import optional_record
from recollectd.client.reading import StateRecord
from recollectd.client.results import Record
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.fields import Message, Reply
from recollectd.protocol.messages.state import StateGet, StateGetMany, StateRecords


class Waiting(Protocol):
    """Who waits for the result of a call: a handle of either face."""

    call: Any

    def settle(self, result: Any) -> None:
        """Give the result."""


W = TypeVar("W", bound=Waiting)


def may_be_gathered(request: Message) -> bool:
    """Tell whether a request is the get of one record as it is now."""
    return type(request) is StateGet and request.version is None and request.as_of is None


def gather(handles: Iterable[W]) -> Iterator[tuple[Message, Sequence[W]]]:
    """Return as few requests as these gets need, each with those who wait for it."""
    by_namespace: dict[tuple[str, ...], list[W]] = defaultdict(list)
    for handle in handles:
        by_namespace[handle.call.request.namespace].append(handle)
    for namespace, several in by_namespace.items():
        for start in range(0, len(several), limits.OPERATIONS_PER_FRAME_MAX):
            some = several[start : start + limits.OPERATIONS_PER_FRAME_MAX]
            if len(some) == 1:
                yield some[0].call.request, some
            else:
                yield StateGetMany(namespace, tuple([handle.call.request.key for handle in some])), some


def spread(reply: Reply, handles: Sequence[W], fail: Callable[[W, Exception], None]) -> Sequence[W]:
    """Give several gets of one request their results; return those that the reply had no room for.

    Raises InvalidMessage when it had room for none.
    """
    assert isinstance(reply, StateRecords), "the reply to a StateGetMany"
    if not reply.records:
        raise errors.InvalidMessage("the daemon answered with none of the records asked for", field="records")
    for handle, record in zip(handles, reply.records, strict=False):
        if type(record) is StateRecord:
            handle.settle(Record(record))
            continue
        try:
            handle.settle(optional_record(record))
        except Exception as error:
            fail(handle, error)
    return handles[len(reply.records) :]


def concerns_each(error: Exception) -> bool:
    """Tell whether a refusal of several gets may be due to one of them: then each is to be asked for by itself."""
    return isinstance(error, errors.RecollectdError) and not isinstance(
        error, (errors.CapacityError, errors.ClientError)
    )
