"""Why a message could not be decoded, in the words of the protocol: which field, by name, and what is wrong with it.

msgspec says where it stopped as a path of array indexes (`$[3][0][1]`); the declarations turn that into
`messages[0].content`. What is looked at is bounded: arrays longer than a frame may carry operations are not entered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Raw, Struct

from recollectd.protocol import errors, limits

_INDEX: Final = re.compile(r"\[(\d+)\]")
_TOO_SHORT: Final = re.compile(r"Expected `array` of at least length \d+, got (\d+)")
_OUT_OF_BOUNDS: Final = re.compile(r"Expected `\w+(?: \| null)?` (?:[<>]=?|of length) |Invalid enum value ")
_NOT_DECODED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


_NOTHING: Final = Raw(b"")


class _Head(Struct, array_like=True):
    """The first element of an array; whatever follows is skipped without being built."""

    tag: Raw


def explain(body: bytes | memoryview, error: Exception, requests: Mapping[int, type[Struct]]) -> errors.RecollectdError:
    """Return the error to answer for a body that did not decode as one of `requests` (by tag), naming the field.

    UnknownMessage for another tag, InvalidArgument for a value out of its bounds, else InvalidMessage.
    """
    tag = _tag_in(body)
    request = requests.get(tag) if tag is not None else None
    if tag is not None and request is None:
        return errors.UnknownMessage(f"no message has tag {tag}")
    if isinstance(error, RecursionError):
        return errors.InvalidMessage("the message is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        field = _text_at_fault(Raw(body), request) if request else None
        return errors.InvalidMessage("the text is not valid UTF-8", field=field or "")
    message, _, path = str(error).partition(" - at `")
    if request is None or (not path and not _TOO_SHORT.fullmatch(message)):
        return errors.InvalidMessage(message)
    return _at_path(message, [int(index) for index in _INDEX.findall(path)], Raw(body), request)


def _at_path(message: str, path: list[int], body: Raw, request: type[Struct]) -> errors.RecollectdError:
    """Follow the path through declarations and bytes together: the bytes say which of several structures it is."""
    field, declared, raw = "", request, body
    for index in path:
        structure = _structure(declared, raw)
        items = _items(raw)
        if structure is None:
            field += f"[{index}]"
            declared = (get_args(declared) or (Any,))[0]
        else:
            place = index - _tag_count(structure)
            names = structure.__struct_fields__
            if not 0 <= place < len(names):
                tag = _tag_in(raw)
                why = f"{message} as its tag" if tag is None else f"tag {tag} is none of those allowed here"
                return errors.InvalidMessage(why, field=field)
            field = _below(field, names[place])
            declared = _hints(structure)[names[place]]
        raw = items[index] if index < len(items) else _NOTHING
    short, structure = _TOO_SHORT.fullmatch(message), _structure(declared, raw)
    if short and structure is not None and int(short[1]) >= _tag_count(structure):
        field = _below(field, structure.__struct_fields__[int(short[1]) - _tag_count(structure)])
        return errors.InvalidMessage("the field is missing", field=field)
    kind = errors.InvalidArgument if _OUT_OF_BOUNDS.match(message) else errors.InvalidMessage
    return kind(message, field=field)


def _text_at_fault(raw: Raw, declared: Any, field: str = "") -> str | None:
    """Return the first field whose text is not UTF-8, in the order in which decoding meets them."""
    structure = _structure(declared, raw)
    if structure is not None:
        places = zip(structure.__struct_fields__, _items(raw)[_tag_count(structure) :], strict=False)
        below = ((item, _hints(structure)[name], _below(field, name)) for name, item in places)
    elif get_origin(declared) is tuple:
        below = ((item, get_args(declared)[0], f"{field}[{index}]") for index, item in enumerate(_items(raw)))
    elif declared is str or str in get_args(declared):
        try:
            msgspec.msgpack.decode(raw)
        except UnicodeDecodeError:
            return field
        return None
    else:
        return None
    return next((found for item in below if (found := _text_at_fault(*item)) is not None), None)


def _below(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _tag_in(raw: bytes | memoryview | Raw) -> int | None:
    """Return the integer an array begins with, or None where there is none."""
    try:
        return msgspec.msgpack.decode(msgspec.msgpack.decode(raw, type=_Head).tag, type=int)
    except _NOT_DECODED:
        return None


def _items(raw: Raw) -> list[Raw]:
    """Return an array's elements; none for what is no array, and none for an array longer than any that is taken."""
    head = memoryview(raw)[:5]
    if not head:
        return []
    sizes = {0xDC: 3, 0xDD: 5}
    end = sizes.get(head[0])
    if end is None and head[0] & 0xF0 != 0x90:
        return []
    count = head[0] & 0x0F if end is None else int.from_bytes(head[1:end])
    if count > limits.OPERATIONS_PER_FRAME_MAX:
        return []
    try:
        return msgspec.msgpack.decode(raw, type=list[Raw])
    except _NOT_DECODED:
        return []


def _structure(declared: Any, raw: Raw) -> type[Struct] | None:
    """Return the structure a declared type stands for; of several, the one whose tag the bytes begin with."""
    is_union = get_origin(declared) in (Union, UnionType)
    structures = [
        one
        for one in (get_args(declared) if is_union else (declared,))
        if isinstance(one, type) and issubclass(one, Struct)
    ]
    if len(structures) < 2:
        return structures[0] if structures else None
    tag = _tag_in(raw)
    return next((one for one in structures if one.__struct_config__.tag == tag), structures[0])


def _tag_count(structure: type[Struct]) -> int:
    """How many elements of the structure's array precede its fields."""
    return 0 if structure.__struct_config__.tag is None else 1


@cache
def _hints(structure: type[Struct]) -> dict[str, Any]:
    """Return the declared types of the fields; what may also be nil counts as what it is otherwise."""
    return {name: _without_nil(hint) for name, hint in get_type_hints(structure).items()}


def _without_nil(hint: Any) -> Any:
    rest = tuple(one for one in get_args(hint) if one is not NoneType)
    return rest[0] if get_origin(hint) in (Union, UnionType) and len(rest) == 1 else hint
