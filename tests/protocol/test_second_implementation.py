"""A client written from the protocol document alone: struct and a dozen lines of msgpack, nothing of the library.

What it sends must be, to the byte, what the library sends and takes; what the library answers it must understand.
"""

from __future__ import annotations

import struct

import pytest

from recollectd.protocol import frames, table
from recollectd.protocol.messages import connection, state
from support.message_examples import raw


def pack(value: object) -> bytes:
    """Return msgpack in its shortest form, for what the messages below are made of."""
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int() if 0 <= value < 128:
            return struct.pack("B", value)
        case int() if value >= 0:
            size = next(size for size in (1, 2, 4, 8) if value < 1 << (8 * size))
            return {1: b"\xcc", 2: b"\xcd", 4: b"\xce", 8: b"\xcf"}[size] + value.to_bytes(size, "big")
        case str() if len(value.encode()) < 32:
            return struct.pack("B", 0xA0 | len(value.encode())) + value.encode()
        case bytes() if len(value) < 256:
            return struct.pack("BB", 0xC4, len(value)) + value
        case list() if len(value) < 16:
            return struct.pack("B", 0x90 | len(value)) + b"".join(map(pack, value))
        case dict() if len(value) < 16:
            return struct.pack("B", 0x80 | len(value)) + b"".join(pack(key) + pack(value[key]) for key in value)
        case _:
            raise NotImplementedError(value)


def unpack(data: bytes, at: int = 0) -> tuple[object, int]:
    """Return one value and where it ends."""
    head = data[at]
    if head < 0x80:
        return head, at + 1
    if head in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[head], at + 1
    if head in (0xCC, 0xCD, 0xCE, 0xCF):
        size = 1 << (head - 0xCC)
        return int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size
    if head & 0xE0 == 0xA0:
        end = at + 1 + (head & 0x1F)
        return data[at + 1 : end].decode(), end
    if head & 0xE0 == 0x80:
        values, at = [], at + 1
        for _ in range((head & 0x0F) * (1 if head & 0xF0 == 0x90 else 2)):
            value, at = unpack(data, at)
            values.append(value)
        return (values if head & 0xF0 == 0x90 else dict(zip(values[::2], values[1::2], strict=True))), at
    raise NotImplementedError(hex(head))


def request(message: list[object], *, request_id: int, number: int = 0, after: int = 0, span: int = 0) -> bytes:
    """Return a request frame as the document lays it out."""
    body = pack(message)
    return struct.pack("<IIQQIBBH", 28 + len(body), request_id, number, after, 0, 0, 0, span) + body


def reply(frame: bytes) -> tuple[int, int, object]:
    """Return request_id, position and message of a reply frame."""
    length, request_id, position = struct.unpack_from("<IIQ", frame)
    assert length == len(frame) - 4
    message, end = unpack(frame, 16)
    assert end == len(frame)
    return request_id, position, message


VALUE = {"name": "Ada", "tags": ["x", True, None, 70_000]}


def test_hello() -> None:
    sent = b"RCLD" + struct.pack("<HH", 1, 0) + request([1, 1, 1, "second", b"", None, []], request_id=1)
    assert sent == frames.PREAMBLE + frames.pack_request(
        frames.RequestHeader(1), table.encode(connection.Hello(1, 1, "second"))
    )


def test_put() -> None:
    message: list[object] = [16, ["acme", "app"], "profile", VALUE, 3_600_000_000, True, None, False]
    put = state.StatePut(("acme", "app"), "profile", raw(VALUE), 3_600_000_000, True)
    sent = request(message, request_id=70_000, number=2**40, span=3)
    assert sent == frames.pack_request(frames.RequestHeader(70_000, number=2**40, span=3), table.encode(put))


@pytest.mark.parametrize("count", [3, 4, 5])
def test_get_with_as_many_fields_as_one_likes(count: int) -> None:
    message: list[object] = [17, ["acme"], "profile", None, None][:count]
    (frame,) = frames.FrameSplitter(frames.REQUEST_HEADER.size).feed(request(message, request_id=3, after=9))
    header, body = frames.unpack_request(frame)
    assert header == frames.RequestHeader(3, after=9)
    assert table.decode_request(body) == state.StateGet(("acme",), "profile")


def test_the_answers_are_understood() -> None:
    at = 1_800_000_000_000_000
    record = state.StateRecord("profile", raw(VALUE), 1, at, at + 1, None, 7)
    answer = frames.pack_reply(3, 9, table.encode(record))
    assert reply(answer) == (3, 9, [17, "profile", VALUE, 1, at, at + 1, None, 7])
    refusal = connection.ErrorReply(202, "not at version 4", "if_version")
    assert reply(frames.pack_reply(4, 0, table.encode(refusal))) == (
        4,
        0,
        [15, 202, "not at version 4", "if_version", 0, ""],
    )
