"""Arguments checked and turned into what messages carry; what the daemon would refuse is refused here already.

Every function raises InvalidArgument (TooLarge where only a size is at fault) naming the field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from inspect import iscoroutinefunction
from itertools import islice
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Raw

from recollectd.protocol import errors, limits

T = TypeVar("T")

ROLES: Final = ("user", "assistant")

# Text of ASCII has as many bytes as characters.
_Names: Final = list[Annotated[str, msgspec.Meta(min_length=1, max_length=limits.KEY_BYTES_MAX)]]

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode


def label_tuple(labels: Iterable[str], field: str = "namespace") -> tuple[str, ...]:
    """Return a namespace as messages carry it."""
    if isinstance(labels, (str, bytes)):
        raise errors.InvalidArgument(f"must be a tuple of labels, such as ({labels!r},)", field=field)
    checked = tuple(labels)
    if not 1 <= len(checked) <= limits.NAMESPACE_LABELS_MAX:
        raise errors.InvalidArgument(
            f"has {len(checked)} labels; 1 to {limits.NAMESPACE_LABELS_MAX} are allowed", field=field
        )
    for index, label in enumerate(checked):
        name(label, f"{field}[{index}]", limits.LABEL_BYTES_MAX)
    return checked


def name(text: str, field: str, bytes_max: int = limits.KEY_BYTES_MAX) -> str:
    """Return a key, id or label that is not empty and not too long."""
    if not isinstance(text, str):
        raise errors.InvalidArgument(f"must be text, not {type(text).__name__}", field=field)
    # UTF-8 needs at most 4 bytes a character: nearly every name is accepted without being encoded.
    if text and text.isascii() and len(text) <= bytes_max:
        return text
    size = len(_utf8(text, field))
    if not 1 <= size <= bytes_max:
        raise errors.InvalidArgument(f"has {size} bytes of UTF-8; 1 to {bytes_max} are allowed", field=field)
    return text


def names(texts: Iterable[str], field: str) -> list[str]:
    """Return keys or ids, each as `name` wants it."""
    given = list(texts)
    # One look at all of them together accepts nearly every list; one that it does not is looked at one by one.
    with suppress(msgspec.ValidationError):
        checked = msgspec.convert(given, _Names)
        if "".join(checked).isascii():
            return checked
    return [name(text, f"{field}[{index}]") for index, text in enumerate(given)]


def optional_name(text: str | None, field: str, bytes_max: int = limits.KEY_BYTES_MAX) -> str | None:
    """Return an id that may be left to the daemon."""
    return None if text is None else name(text, field, bytes_max)


def free_text(text: str, field: str) -> str:
    """Return text that may be empty, of whatever length; the daemon says what is too long."""
    if not isinstance(text, str):
        raise errors.InvalidArgument(f"must be text, not {type(text).__name__}", field=field)
    if not text.isascii():
        _utf8(text, field)
    return text


def range_text(text: str, field: str) -> str:
    """Return a prefix or pattern, which may be empty."""
    return text if text == "" else name(text, field)


def _utf8(text: str, field: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise errors.InvalidArgument("is no valid Unicode text", field=field) from None


def packed(content: object, field: str = "value") -> Raw:
    """Return a value as msgpack: None, bool, numbers, text, bytes, lists, maps and what msgspec turns into those."""
    try:
        encoded = _encode(content)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise errors.InvalidArgument(f"cannot be written as msgpack: {error}", field=field) from error
    if len(encoded) > limits.VALUE_BYTES_MAX:
        raise errors.TooLarge(f"has {len(encoded)} bytes as msgpack; {limits.VALUE_BYTES_MAX} are allowed", field=field)
    return Raw(encoded)


def plain(content: Raw | bytes | None) -> Any:
    """Return a value of the wire as Python's own types; arrays come back as lists."""
    return None if content is None else _decode(content)


def metadata(mapping: Mapping[str, object] | None, field: str = "metadata") -> Raw | None:
    """Return metadata as msgpack, None for none."""
    if mapping is None:
        return None
    encoded = packed(dict(text_map(mapping, field)), field)
    size = memoryview(encoded).nbytes
    if size > limits.METADATA_BYTES_MAX:
        raise errors.TooLarge(f"has {size} bytes as msgpack; {limits.METADATA_BYTES_MAX} are allowed", field=field)
    return encoded


def text_map(mapping: Mapping[str, T], field: str) -> Mapping[str, T]:
    """Return a map whose keys are text."""
    given: Any = mapping
    if not (isinstance(given, Mapping) and all(isinstance(key, str) for key in given)):
        raise errors.InvalidArgument("must be a map with text keys", field=field)
    return mapping


def role(text: str, field: str = "role") -> Any:
    """Return a role; the result is typed as the message wants it."""
    if text not in ROLES:
        raise errors.InvalidArgument(f"must be 'user' or 'assistant', not {text!r}", field=field)
    return text


def content(text: str, field: str = "content") -> str:
    """Return the content of a message."""
    if not isinstance(text, str):
        raise errors.InvalidArgument(f"must be text, not {type(text).__name__}", field=field)
    if not text:
        raise errors.InvalidArgument("must not be empty", field=field)
    if len(text) * 4 > limits.CONTENT_BYTES_MAX or not text.isascii():
        size = len(_utf8(text, field))
        if size > limits.CONTENT_BYTES_MAX:
            raise errors.TooLarge(f"has {size} bytes of UTF-8; {limits.CONTENT_BYTES_MAX} are allowed", field=field)
    return text


def number(given: float, field: str) -> float:
    """Return a number; whether it is finite and within bounds is the daemon's to say."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise errors.InvalidArgument(f"must be a number, not {type(given).__name__}", field=field)
    try:
        return float(given)
    except OverflowError:
        raise errors.InvalidArgument("is too large for a number", field=field) from None


def whole(number: int, field: str, *, least: int = 0, most: int | None = None) -> int:
    """Return a whole number within bounds."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise errors.InvalidArgument(f"must be a whole number, not {type(number).__name__}", field=field)
    if number < least or (most is not None and number > most):
        raise errors.InvalidArgument(
            f"must be at least {least}" + (f" and at most {most}" if most is not None else "") + f", not {number}",
            field=field,
        )
    return number


def optional_whole(number: int | None, field: str, *, least: int = 0, most: int | None = None) -> int | None:
    """Return a whole number within bounds, None for none."""
    return None if number is None else whole(number, field, least=least, most=most)


def items_of(items: Iterable[T], field: str) -> tuple[T, ...]:
    """Return what one argument carries several of, and not text mistaken for a sequence."""
    if isinstance(items, (str, bytes)):
        raise errors.InvalidArgument("must be a sequence of items, not one text", field=field)
    if not isinstance(items, Iterable):
        raise errors.InvalidArgument(f"must be a sequence of items, not {type(items).__name__}", field=field)
    return tuple(items)


def several(items: Iterable[T], field: str) -> Sequence[T]:
    """Return what one request carries several of: at least one, and not text mistaken for a sequence."""
    gathered = items_of(items, field)
    if not 1 <= len(gathered) <= limits.OPERATIONS_PER_FRAME_MAX:
        raise errors.InvalidArgument(
            f"has {len(gathered)} entries; 1 to {limits.OPERATIONS_PER_FRAME_MAX} are allowed", field=field
        )
    return gathered


def awaits(function: Callable[..., Any]) -> bool:
    """Tell whether a callable is a coroutine function, or an object that is called like one."""
    return iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def as_many(made: Any, wanted: int, what: str, given: str, *, field: str) -> list[Any]:
    """Return what a callable of the caller's made, which must be as many as it was given. Raises InvalidArgument.

    No more is taken of an iterable without an end.
    """
    try:
        found = list(islice(made, wanted + 1))
    except TypeError as error:
        raise errors.InvalidArgument(f"gave no {what}, but {type(made).__name__}: {error}", field=field) from error
    if len(found) != wanted:
        told = str(len(found)) if len(found) < wanted else f"more than {wanted}"
        raise errors.InvalidArgument(f"gave {told} {what} for {wanted} {given}", field=field)
    return found
