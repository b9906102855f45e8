"""Writes the protocol document from the tables: `python -m recollectd.protocol.documentation > daemon/PROTOCOL.md`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Raw, Struct

from recollectd.protocol import errors, frames, limits, prose, table
from recollectd.protocol.messages import (
    connection,
    conversations,
    erasing,
    fields,
    logs,
    memories,
    search_settings,
    state,
    transactions,
    vector_spaces,
)

SECTIONS: Final = (
    ("Connection and daemon", connection),
    ("State", state),
    ("Logs", logs),
    ("Conversations", conversations),
    ("Memories", memories),
    ("How a namespace is searched", search_settings),
    ("Vector spaces", vector_spaces),
    ("Erasing", erasing),
    ("Transactions, batches, watches", transactions),
)
WORDS: Final = {int: "integer", str: "text", bytes: "bytes", bool: "true or false", Raw: "value", Any: "value"}


def document() -> str:
    """Return the whole document as Markdown."""
    known = limits.table() | {
        "preamble": frames.PREAMBLE.hex(" "),
        "request_header_bytes": frames.REQUEST_HEADER.size,
        "request_rest_bytes": frames.REQUEST_HEADER.size - frames.LENGTH.size,
        "reply_header_bytes": frames.REPLY_HEADER.size,
        "reply_rest_bytes": frames.REPLY_HEADER.size - frames.LENGTH.size,
        "flag_async": f"0x{frames.FLAG_ASYNC:02x}",
    }
    texts = (
        prose.OPENING,
        prose.FRAMES,
        prose.MESSAGES,
        prose.HELLO,
        prose.EXACTLY_ONCE,
        prose.ORDER,
        prose.BOUNDS,
        prose.FILTERS,
        prose.SEARCHES,
    )
    parts = [text.format_map(known) for text in texts]
    parts += [prose.MESSAGES_OPENING, *_messages()]
    parts += [prose.ERRORS, _errors(), prose.LIMITS, _limits(), prose.EXAMPLE.format_map(known), *_example()]
    return "\n".join(parts)


# -- messages -------------------------------------------------------------------------------------------------------


def _messages() -> Iterator[str]:
    for title, module in SECTIONS:
        yield f"### {title}\n"
        for row in table.REQUESTS:
            if row.request.__module__ == module.__name__:
                yield _request(row)
        for reply in sorted(table.REPLY_TYPES, key=table.tag_of):
            if reply.__module__ == module.__name__:
                yield _section(f"Reply {table.tag_of(reply)}: `{reply.__name__}`", reply)
        for structure in structures():
            if structure.__module__ == module.__name__:
                tag = structure.__struct_config__.tag
                kind = "Structure" if tag is None else f"Structure with tag {tag}"
                yield _section(f"{kind}: `{structure.__name__}`", structure)


def structures() -> list[type[Struct]]:
    """Return every structure that stands inside messages and is none itself, in the order of first use."""
    messages: tuple[type[Struct], ...] = (*table.REQUEST_TYPES, *table.REPLY_TYPES)
    found: dict[type[Struct], None] = {}
    waiting = list(messages)
    while waiting:
        for hint in get_type_hints(waiting.pop(0)).values():
            for inner in _structs_in(hint):
                if inner not in messages and inner not in found:
                    found[inner] = None
                    waiting.append(inner)
    return list(found)


def _structs_in(hint: Any) -> Iterator[type[Struct]]:
    if isinstance(hint, type) and issubclass(hint, Struct):
        yield hint
    for argument in get_args(hint):
        yield from _structs_in(argument)


def _request(row: table.RequestRow) -> str:
    write = " (write)" if issubclass(row.request, fields.Write) else ""
    replies = ", ".join(f"`{reply.__name__}` ({table.tag_of(reply)})" for reply in row.replies)
    title = f"Request {table.tag_of(row.request)}: `{row.request.__name__}`{write}"
    return _section(title, row.request) + f"\nReplies: {replies}.\n"


def _section(title: str, structure: type[Struct]) -> str:
    text = f"#### {title}\n\n{inspect.getdoc(structure)}\n"
    rows = [field.cells() for field in fields_of(structure)]
    return text + ("\n" + _table(("field", "type", "default", "meaning"), rows) if rows else "\nNo fields.\n")


class Field(NamedTuple):
    """What the document says of one field. default: as msgpack would be written down, None where it must be sent."""

    name: str
    words: str
    default: str | None
    meaning: str

    def cells(self) -> tuple[str, str, str, str]:
        """Return the table row."""
        return f"`{self.name}`", self.words, "" if self.default is None else f"`{self.default}`", self.meaning


def fields_of(structure: type[Struct]) -> list[Field]:
    """Return the fields of a message or structure in their order."""
    hints = get_type_hints(structure, include_extras=True)
    return [
        Field(info.name, _words(hints[info.name]), _default(info), _meaning(hints[info.name]))
        for info in msgspec.structs.fields(structure)
    ]


def _default(info: msgspec.structs.FieldInfo) -> str | None:
    if info.required:
        return None
    value = info.default if info.default is not msgspec.NODEFAULT else info.default_factory()
    return _json(value)


def _json(value: Any) -> str:
    """Return a value as JSON would have it, but for nil."""
    return msgspec.json.encode(value).decode().replace("null", "nil")


def _meaning(hint: Any) -> str:
    """Return the outermost description."""
    metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, Meta) and meta.description]
    return metas[-1].description or "" if metas else ""


def _words(hint: Any) -> str:
    """Return a type in words, with its bounds."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        metas = [meta for meta in arguments[1:] if isinstance(meta, Meta)]
        nil = " or nil" if any((meta.extra or {}).get("nil") for meta in metas) else ""
        return _words(arguments[0]) + "".join(_bounds(meta) for meta in metas) + nil
    if origin in (Union, UnionType):
        words = [_words(argument) for argument in arguments if argument is not NoneType]
        return " or ".join(words + (["nil"] if NoneType in arguments else []))
    if origin is tuple:
        return (
            f"array of ({_words(arguments[0])})" if " " in _words(arguments[0]) else f"array of {_words(arguments[0])}"
        )
    if origin is dict:
        return f"map of {_words(arguments[0])} to {_words(arguments[1])}"
    if origin is Literal:
        return " or ".join(f'`"{argument}"`' for argument in arguments)
    return WORDS.get(hint) or f"`{hint.__name__}`"


def _bounds(meta: Meta) -> str:
    pairs = ((">=", meta.ge), (">", meta.gt), ("<=", meta.le), ("<", meta.lt))
    bounds = [f"{sign} {value}" for sign, value in pairs if value is not None]
    if meta.min_length is not None:
        bounds.append(f"of length >= {meta.min_length}")
    return " " + ", ".join(bounds) if bounds else ""


# -- tables and example ---------------------------------------------------------------------------------------------


def _errors() -> str:
    rows = [
        (str(row.code), f"`{row.name}`", row.retry.value, row.meaning, row.hint)
        for row in (error.row for error in errors.ERRORS)
    ]
    return _table(("code", "name", "retry", "meaning", "what to do"), rows)


def _limits() -> str:
    rows = [(f"`{name}`", str(value), limits.MEANINGS[name]) for name, value in limits.table().items()]
    return _table(("limit", "value", "meaning"), rows)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles), *lines]) + "\n"


def _example() -> Iterator[str]:
    namespace, at = ("acme",), 1_800_000_000_000_000
    value = Raw(msgspec.msgpack.encode({"name": "Ada"}))
    hello = connection.Hello(1, 1, "example")
    yield f"The connection begins with the preamble `{frames.PREAMBLE.hex(' ')}` and a hello:\n"
    yield _request_bytes(frames.RequestHeader(1), hello)
    yield "When `Welcome` has come (reply 1), the write goes out as number 1 of the session:\n"
    yield _request_bytes(frames.RequestHeader(2, number=1), state.StatePut(namespace, "profile", value))
    yield "and is answered, durable and applied as commit 7:\n"
    yield _reply_bytes(2, 7, state.StateStored(1, at, at, None))
    yield "The read asks for an answer that includes that commit:\n"
    yield _request_bytes(frames.RequestHeader(3, after=7), state.StateGet(namespace, "profile"))
    yield _reply_bytes(3, 7, state.StateRecord("profile", value, 1, at, at, None, 7))
    yield "`StatePut` could have been sent as its first four elements and no more: the rest have defaults.\n"


def _request_bytes(header: frames.RequestHeader, message: fields.Message) -> str:
    frame = frames.pack_request(header, table.encode(message))
    names = ("length", "request_id", "number", "after", "deadline_ms", "flags", "zero", "span")
    return _frame_bytes(frame, names, (4, 4, 8, 8, 4, 1, 1, 2), message)


def _reply_bytes(request_id: int, position: int, message: fields.Reply) -> str:
    frame = frames.pack_reply(request_id, position, table.encode(message))
    return _frame_bytes(frame, ("length", "request_id", "position"), (4, 4, 8), message)


def _frame_bytes(frame: bytes, names: Iterable[str], sizes: Iterable[int], message: Struct) -> str:
    """Return the frame's bytes, a field a line, with what they mean beside them."""
    lines: list[tuple[bytes, str]] = []
    for name, size in zip(names, sizes, strict=True):
        start = sum(len(part) for part, _ in lines)
        part = frame[start : start + size]
        lines.append((part, f"{name} {int.from_bytes(part, 'little')}"))
    body = frame[sum(len(part) for part, _ in lines) :]
    lines.append((body[:1], f"{type(message).__name__}, an array of {body[0] & 0x0F}"))
    elements = msgspec.msgpack.decode(body, type=list[Raw])
    for name, element in zip(("tag", *message.__struct_fields__), elements, strict=True):
        lines.append((bytes(element), f"{name} {_json(msgspec.msgpack.decode(element))}"))
    width = max(len(part) for part, _ in lines) * 3 + 1
    return "```\n" + "\n".join(f"{part.hex(' '):<{width}}{meaning}" for part, meaning in lines) + "\n```\n"


if __name__ == "__main__":
    sys.stdout.write(document())
