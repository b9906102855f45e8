"""One read at a time of what many ask for at once.

Who asks the same of one record while a read of it is on its way waits for its end. Most then find the answer in the
value cache, which knows whether it still holds; for the others there is one more read, begun after all of them came.
So a record that a thousand clients miss together is read twice at most, and nobody is told of a moment before they
asked (singleflight as in groupcache, without its sharing of a call begun earlier).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from recollectd.memory.kind import ReadOperation
from recollectd.protocol.messages.fields import Request
from recollectd.server.reads import Read, reply_bytes


class _Asked(NamedTuple):
    operation: ReadOperation[Any]
    ended: Callable[[int, Any], None]


class SingleFlight:
    """Reads on their way, by what they ask. Lives on the event loop.

    submit: starts a read; cached: the answer's bytes if the value cache has it; position: the last commit applied.
    """

    def __init__(
        self,
        submit: Callable[[Read[Any]], None],
        cached: Callable[[ReadOperation[Any]], bytes | None],
        position: Callable[[], int],
    ) -> None:
        self._submit = submit
        self._cached = cached
        self._position = position
        self._under_way: dict[Request, list[_Asked]] = {}

    def start(self, operation: ReadOperation[Any], ended: Callable[[int, Any], None]) -> None:
        """Read what is not in the cache; `ended` is told the position and the result."""
        if operation.keys is None or len(operation.keys) != 1 or type(operation).cached is ReadOperation.cached:
            joins = operation if operation.joins else None
            self._submit(Read(operation.read, ended, operation.keys is None, joins))
        elif (waiting := self._under_way.get(operation.request)) is not None:
            waiting.append(_Asked(operation, ended))
        else:
            self._begin([_Asked(operation, ended)])

    def _begin(self, asked: list[_Asked]) -> None:
        operation = asked[0].operation
        self._under_way[operation.request] = []
        self._submit(Read(operation.read, lambda position, result: self._end(asked, position, result)))

    def _end(self, asked: list[_Asked], position: int, result: object) -> None:
        body = reply_bytes(result)  # first of all: if it fails, this is called again with the failure
        request = asked[0].operation.request
        waiting = self._under_way.pop(request)
        for each in asked:
            each.ended(position, body)
        missing: list[_Asked] = []
        for each in waiting:
            cached = self._cached(each.operation)
            if cached is None:
                missing.append(each)
            else:
                each.ended(self._position(), cached)
        if missing:  # somebody who was just told may have asked again
            if (waiting_again := self._under_way.get(request)) is not None:
                waiting_again += missing
            else:
                self._begin(missing)
