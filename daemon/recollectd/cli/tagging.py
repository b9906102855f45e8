"""Values as JSON, and back again exactly.

JSON cannot carry all that msgpack can. What it cannot carry is written as an object with a single key, a tag:

    {"$bytes": "AAEC"}                 bytes, in base64
    {"$int": "9007199254740993"}       an integer beyond +-(2**53 - 1), which many readers of JSON would round
    {"$float": "nan"}                  nan, inf or -inf; a nan with other bits: its 16 hexadecimal digits
    {"$time": "2026-01-31T12:00:00Z"}  a timestamp
    {"$ext": [5, "AAEC"]}              another extension type: its code, and its data in base64
    {"$map": [[1, "one"], [2, "two"]]} a map with keys that are not text, as pairs in order

A map of the user's own that would read as one of these is itself written as `$map`, so every value comes back as it
was. Every other object is what it looks like: {"$ref": "x"} is a map.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import math
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from msgspec.msgpack import Ext

INT_EXACT_MAX: Final = 2**53 - 1
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**64 - 1


class TagError(ValueError):
    """A tagged value does not hold what its tag promises, or a number fits no msgpack value."""


def to_json(value: Any) -> Any:
    """Return a value as what JSON can carry exactly. Raises TypeError for what is no msgpack value."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if -INT_EXACT_MAX <= value <= INT_EXACT_MAX else {"$int": str(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": _tell_float(value)}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        if _reads_as_itself(value):
            return {key: to_json(item) for key, item in value.items()}
        return {"$map": [[to_json(key), to_json(item)] for key, item in value.items()]}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$time": value.astimezone(UTC).isoformat().replace("+00:00", "Z")}
    if isinstance(value, Ext):
        return {"$ext": [value.code, base64.b64encode(value.data).decode()]}
    raise TypeError(f"{type(value).__name__} is no msgpack value")


def to_plain_json(value: Any) -> Any:
    """Return a value as JSON in which nothing is tagged that JSON can say: what came from JSON is what it was."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, list | tuple):
        return [to_plain_json(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: to_plain_json(item) for key, item in value.items()}
    return to_json(value)


def from_json(value: Any) -> Any:
    """Return the value that `to_json` wrote. Raises TagError."""
    if isinstance(value, dict):
        if len(value) == 1:
            ((tag, content),) = value.items()
            if tag in _READERS:
                return _read(tag, content)
        return {key: from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if type(value) is int and not INT_MIN <= value <= INT_MAX:
        raise TagError(f"{value} does not fit 64 bits")
    return value


def _reads_as_itself(value: dict[Any, Any]) -> bool:
    return all(isinstance(key, str) for key in value) and not (len(value) == 1 and next(iter(value)) in _READERS)


def _read(tag: str, content: Any) -> Any:
    try:
        return _READERS[tag](content)
    except (ValueError, TypeError, binascii.Error) as error:
        if isinstance(error, TagError):
            raise
        raise TagError(f"{tag} with {content!r} is not a value: {error}") from None


def _read_bytes(content: Any) -> bytes:
    return base64.b64decode(_text(content), validate=True)


def _read_int(content: Any) -> int:
    number = int(_text(content))
    if not INT_MIN <= number <= INT_MAX:
        raise TagError(f"{number} does not fit 64 bits")
    return number


def _tell_float(value: float) -> str:
    bits = struct.pack(">d", value)
    return bits.hex() if math.isnan(value) and bits != struct.pack(">d", math.nan) else repr(value)


def _read_float(content: Any) -> float:
    if content in ("nan", "inf", "-inf"):
        return float(content)
    if isinstance(content, str) and len(content) == 16:
        with contextlib.suppress(ValueError):
            value: float = struct.unpack(">d", bytes.fromhex(content))[0]
            if math.isnan(value):
                return value
    raise ValueError("expected nan, inf, -inf or the 16 hexadecimal digits of a nan")


def _read_time(content: Any) -> datetime:
    time = datetime.fromisoformat(_text(content))
    if time.tzinfo is None:
        raise ValueError("expected a time zone, such as Z")
    return time.astimezone(UTC)


def _read_ext(content: Any) -> Ext:
    code, data = content
    if type(code) is not int or not -128 <= code <= 127 or code == -1:
        raise ValueError("expected a code from -128 to 127 other than -1, which is $time")
    return Ext(code, _read_bytes(data))


def _read_map(content: Any) -> dict[Any, Any]:
    pairs = {_hashable(from_json(key)): from_json(item) for key, item in content}
    if len(pairs) != len(content):
        raise ValueError("a key stands twice")
    return pairs


def _hashable(key: Any) -> Any:
    """Arrays are tuples where they are keys, as msgspec reads them."""
    return tuple(_hashable(part) for part in key) if isinstance(key, list) else key


def _text(content: Any) -> str:
    if not isinstance(content, str):
        raise TypeError("expected text")
    return content


# Do not change: exported files hold these tags.
_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "$bytes": _read_bytes,
    "$int": _read_int,
    "$float": _read_float,
    "$time": _read_time,
    "$ext": _read_ext,
    "$map": _read_map,
}
