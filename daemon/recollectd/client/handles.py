"""Handles: results that come later, for calls that are sent together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from recollectd.client.calls import Call

T = TypeVar("T")


class Handle(Generic[T]):
    """The result of a call of a pipeline or batch, once it is there."""

    # Defaults of the class: a handle is made for every call, and most never need another value for most of these.
    _result: Any = None
    _error: Exception | None = None
    _done = False
    _seen = False

    def __init__(self, fetch: Callable[[], object], call: Call[T]) -> None:
        self._fetch = fetch
        self.call = call

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
