"""Handles: results that come later, for calls that are sent together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    from recollectd.client.calls import Call

T = TypeVar("T")


class Handle(Struct, Generic[T], eq=False):
    """The result of a call of a pipeline or batch, once it is there."""

    # A structure is made in half the time that `__init__` takes, and one is made for every call.
    _fetch: Callable[[], object]
    call: Call[T]
    _result: Any = None
    _error: Exception | None = None
    _done: bool = False
    _seen: bool = False

    @property
    def done(self) -> bool:
        """Whether result or error are there."""
        return self._done

    def result(self) -> T:
        """Return the result or raise the call's error. In a pipeline this sends what was not sent and waits for it."""
        if not self._done:
            self._fetch()
        if self._error is not None:
            self._seen = True
            raise self._error
        result: T = self._result
        return result

    def exception(self) -> Exception | None:
        """Return the call's error, None if it succeeded; waits like `result`."""
        if not self._done:
            self._fetch()
        self._seen = True
        return self._error

    @property
    def unseen_error(self) -> Exception | None:
        """The error that nobody has asked for yet."""
        return None if self._seen else self._error

    def settle(self, result: T) -> None:
        """Give the result."""
        self._result = result
        self._done = True

    def fail(self, error: Exception) -> None:
        """Give the error."""
        self._error, self._done = error, True
