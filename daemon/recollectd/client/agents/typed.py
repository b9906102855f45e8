"""Values of a declared type: checked on their way in and out, by msgspec or by the type's own pydantic model."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from recollectd.protocol import errors

T = TypeVar("T")

# What msgpack carries as it is.
_PLAIN = (bytes, bytearray, memoryview)


class Typed(Generic[T]):
    """A type, and the way of its values to msgpack and back.

    type: anything that msgspec converts to (Struct, dataclass, TypedDict, list[int], ...) or a pydantic model, which is
    known by its `model_validate`: nothing is imported for it.
    """

    def __init__(self, type: type[T]) -> None:
        self._type = type
        self._is_model = hasattr(type, "model_validate") and hasattr(type, "model_dump")
        if not self._is_model:
            try:
                msgspec.inspect.type_info(type)
            except (TypeError, ValueError) as error:
                raise errors.InvalidArgument(
                    f"is no type that values can be checked by: {error}", field="type"
                ) from None

    def plain(self, value: T, field: str = "value") -> Any:
        """Return a value as msgpack carries it. Raises InvalidArgument naming the place that does not fit the type."""
        if self._is_model:
            return self._validate(value, field).model_dump()
        try:
            content = msgspec.to_builtins(value, builtin_types=_PLAIN)
        except (TypeError, ValueError, RecursionError) as error:
            raise errors.InvalidArgument(f"cannot be stored: {error}", field=field) from None
        self.typed(content, field)
        return content

    def typed(self, content: Any, field: str = "value") -> T:
        """Return what was stored as a value of the type. Raises InvalidArgument where it does not fit."""
        if self._is_model:
            found: T = self._validate(content, field)
            return found
        try:
            return msgspec.convert(content, self._type, builtin_types=_PLAIN)
        except msgspec.ValidationError as error:
            what, _, place = str(error).partition(" - at `$")
            raise errors.InvalidArgument(what, field=field + place.rstrip("`")) from None

    def _validate(self, value: Any, field: str) -> Any:
        model: Any = self._type
        try:
            # An instance is taken apart: what was assigned to it since it was made has not been checked.
            return model.model_validate(value.model_dump() if isinstance(value, model) else value)
        except ValueError as error:  # pydantic's ValidationError is one
            problems: list[Any] = getattr(error, "errors", list)()
            place = "".join(f".{part}" for part in problems[0]["loc"]) if problems else ""
            what = problems[0]["msg"] if problems else str(error)
            raise errors.InvalidArgument(what, field=field + place) from None
