"""Calls: what a method of the client asks of the daemon, declared once for every way of calling it.

A method of a kind of record (`kinds/`) checks its arguments and returns a `Call`: a request, and how its reply becomes
the result. It performs nothing. Its decorator says what it is, and the *style* of the object it is called on says
what comes of it, at run time through the object's `Face` and for type checkers through the overloads below:

    | style            | query            | operation        | command          | walk           |
    |------------------|------------------|------------------|------------------|----------------|
    | Blocking         | result           | result           | result           | iterator       |
    | Awaiting         | awaitable        | awaitable        | awaitable        | async iterator |
    | Pipelining       | handle           | handle           | handle           | refused        |
    | AsyncPipelining  | awaitable handle | awaitable handle | awaitable handle | refused        |
    | Batching         | refused          | handle           | refused          | refused        |
    | Transacting      | result           | None             | refused          | iterator       |
    | AsyncTransacting | awaitable        | None             | refused          | async iterator |

What is refused is refused by type checkers, and at run time as InvalidArgument.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NoReturn, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from msgspec import Struct

if TYPE_CHECKING:
    from typing import Self

    from recollectd.client.aio.pipeline import AsyncHandle
    from recollectd.client.handles import Handle
    from recollectd.protocol.messages.fields import Message

P = ParamSpec("P")
T = TypeVar("T")
Style = TypeVar("Style")


class Call(Struct, Generic[T], frozen=True, gc=False):
    """One request, and how its reply becomes the result, or another call whose result it is."""

    request: Message
    convert: Callable[[Any], Any]


class Turn(Struct, Generic[T], frozen=True):
    """One page of a walk, and the call for the next; None after the last."""

    items: Sequence[T]
    following: Call[Turn[T]] | None


Walk: TypeAlias = Call[Turn[T]]
Steps: TypeAlias = "Generator[Message, Any, T]"
"""Requests one after the other, each sent its reply; what it returns is the result."""


def ask(request: Message, convert: Callable[[Any], T]) -> Call[T]:
    """Return the call that sends a request and converts its reply."""
    return Call(request, convert)


def stepwise(declare: Callable[P, Steps[T]]) -> Callable[P, Call[T]]:
    """Turn a method written as steps into one that returns a call. The steps begin at the call: bad arguments raise."""

    @wraps(declare)
    def begin(*args: P.args, **kwargs: P.kwargs) -> Call[T]:
        steps = declare(*args, **kwargs)

        def advance(reply: object) -> Any:
            try:
                return Call(steps.send(reply), advance)
            except StopIteration as done:
                return done.value

        return Call(next(steps), advance)

    return begin


class Face(Protocol):
    """Carries calls out in one style.

    works_apart: it takes in a request's place what callables of the caller's are to make beside it: `embedding.Texts`,
    `reranking.Unranked`.
    """

    works_apart: bool

    def query(self, call: Call[Any]) -> Any:
        """Carry out a call that changes nothing."""

    def operation(self, call: Call[Any]) -> Any:
        """Carry out a write that may be part of a batch or transaction."""

    def command(self, call: Call[Any]) -> Any:
        """Carry out a write that can only stand alone."""

    def walk(self, call: Walk[Any]) -> Any:
        """Carry out a walk over pages."""


class Calls(Generic[Style]):
    """Base of everything that has methods which are calls: a namespace, and the face that carries them out."""

    def __init__(self, face: Face, namespace: tuple[str, ...]) -> None:
        self._face = face
        self._namespace = namespace

    @property
    def namespace(self) -> tuple[str, ...]:
        """The namespace that calls are about."""
        return self._namespace

    @property
    def _apart(self) -> bool:
        """Whether embedders and rerankers are called by the face."""
        return self._face.works_apart


# The styles. They have no instances: `State[Blocking]` is state whose calls block.


class Blocking:
    """A call returns its result."""


class Awaiting:
    """A call returns an awaitable of its result."""


class Pipelining:
    """A call is sent with others and returns a handle of its result."""


class AsyncPipelining:
    """A call is sent at once and returns a handle of its result to await."""


class Batching:
    """A write is collected and returns a handle of its result."""


class Transacting:
    """A read returns its result and is guarded; a write is collected."""


class AsyncTransacting:
    """A read returns an awaitable of its result and is guarded; a write is collected."""


Returning: TypeAlias = Calls[Blocking] | Calls[Transacting]
Awaited: TypeAlias = Calls[Awaiting] | Calls[AsyncTransacting]
Collecting: TypeAlias = Calls[Transacting] | Calls[AsyncTransacting]


class _Declared(Generic[P, T]):
    """A declared method. In its class a plain function takes its place: nothing stands between a call and its face."""

    def __init__(self, declare: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self._declare = declare

    def __set_name__(self, owner: type, method_name: str) -> None:
        setattr(owner, method_name, wraps(self._declare)(self._method(self._declare)))

    def _method(self, declare: Callable[Concatenate[Any, P], Call[T]]) -> Callable[..., Any]:
        """Return the function that makes the call and has the face carry it out."""
        raise NotImplementedError


def _replaced() -> NoReturn:
    raise AssertionError("a plain function has taken the descriptor's place")


# Lower case: they are used as decorators. Only type checkers see `__get__`.


class query(_Declared[P, T]):
    """Declares a method that changes nothing."""

    @overload
    def __get__(self, calls: None, owner: type) -> Self: ...
    @overload
    def __get__(self, calls: Returning, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, calls: Awaited, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, calls: Calls[Pipelining], owner: type) -> Callable[P, Handle[T]]: ...
    @overload
    def __get__(self, calls: Calls[AsyncPipelining], owner: type) -> Callable[P, AsyncHandle[T]]: ...
    def __get__(self, calls: Any, owner: type) -> Any:
        """Tell type checkers what calling the method gives."""
        _replaced()

    def _method(self, declare: Callable[Concatenate[Any, P], Any]) -> Callable[..., Any]:
        return lambda calls, *args, **kwargs: calls._face.query(declare(calls, *args, **kwargs))


class operation(_Declared[P, T]):
    """Declares a write that may be part of a batch or transaction."""

    @overload
    def __get__(self, calls: None, owner: type) -> Self: ...
    @overload
    def __get__(self, calls: Calls[Blocking], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, calls: Calls[Awaiting], owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, calls: Calls[Pipelining] | Calls[Batching], owner: type) -> Callable[P, Handle[T]]: ...
    @overload
    def __get__(self, calls: Calls[AsyncPipelining], owner: type) -> Callable[P, AsyncHandle[T]]: ...
    @overload
    def __get__(self, calls: Collecting, owner: type) -> Callable[P, None]: ...
    def __get__(self, calls: Any, owner: type) -> Any:
        """Tell type checkers what calling the method gives."""
        _replaced()

    def _method(self, declare: Callable[Concatenate[Any, P], Any]) -> Callable[..., Any]:
        return lambda calls, *args, **kwargs: calls._face.operation(declare(calls, *args, **kwargs))


class command(_Declared[P, T]):
    """Declares a write that can only stand alone."""

    @overload
    def __get__(self, calls: None, owner: type) -> Self: ...
    @overload
    def __get__(self, calls: Calls[Blocking], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, calls: Calls[Awaiting], owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, calls: Calls[Pipelining], owner: type) -> Callable[P, Handle[T]]: ...
    @overload
    def __get__(self, calls: Calls[AsyncPipelining], owner: type) -> Callable[P, AsyncHandle[T]]: ...
    def __get__(self, calls: Any, owner: type) -> Any:
        """Tell type checkers what calling the method gives."""
        _replaced()

    def _method(self, declare: Callable[Concatenate[Any, P], Any]) -> Callable[..., Any]:
        return lambda calls, *args, **kwargs: calls._face.command(declare(calls, *args, **kwargs))


class walk(_Declared[P, Turn[T]]):
    """Declares a walk over pages; the pages are fetched as the iteration comes to them."""

    @overload
    def __get__(self, calls: None, owner: type) -> Self: ...
    @overload
    def __get__(self, calls: Returning, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, calls: Awaited, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, calls: Any, owner: type) -> Any:
        """Tell type checkers what calling the method gives."""
        _replaced()

    def _method(self, declare: Callable[Concatenate[Any, P], Any]) -> Callable[..., Any]:
        return lambda calls, *args, **kwargs: calls._face.walk(declare(calls, *args, **kwargs))
