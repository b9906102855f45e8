"""Checks of the values that callers store."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from recollectd.protocol import errors, limits

_DECODE: Final = msgspec.msgpack.Decoder().decode
_CONTAINERS: Final = (dict, list, tuple)  # an array within a map's key is decoded as a tuple


def check_value(raw: msgspec.Raw, field: str, bytes_max: int) -> Any:
    """Return the decoded value; refuse what is too large, too deep, or no well-formed msgpack, naming the field."""
    size = memoryview(raw).nbytes
    if size > bytes_max:
        raise errors.TooLarge(f"has {size} bytes; at most {bytes_max} are allowed", field=field)
    try:
        value = _DECODE(raw)
    except UnicodeDecodeError:
        raise errors.InvalidArgument("holds text that is not UTF-8", field=field) from None
    except RecursionError:
        raise errors.InvalidArgument(f"is nested deeper than {limits.VALUE_DEPTH_MAX}", field=field) from None
    except (msgspec.DecodeError, ValueError, OverflowError, TypeError) as error:
        raise errors.InvalidArgument(f"is no msgpack value: {error}", field=field) from None
    if isinstance(value, _CONTAINERS):
        _check_depth(value, field)
    return value


def check_metadata(raw: msgspec.Raw | None, field: str) -> None:
    """Refuse metadata that is no map with text keys, or too large. None is none."""
    if raw is None:
        return
    value = check_value(raw, field, limits.METADATA_BYTES_MAX)
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise errors.InvalidArgument("must be a map with text keys", field=field)


def _check_depth(value: Any, field: str) -> None:
    level = [value]
    for _ in range(limits.VALUE_DEPTH_MAX):
        inner: list[Any] = []
        for container in level:
            members = (*container, *container.values()) if isinstance(container, dict) else container
            inner += [member for member in members if isinstance(member, _CONTAINERS)]
        if not inner:
            return
        level = inner
    raise errors.InvalidArgument(f"is nested deeper than {limits.VALUE_DEPTH_MAX}", field=field)
