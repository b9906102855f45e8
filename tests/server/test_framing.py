"""Bytes as they should not come: frames that are none, messages that are none. The daemon lives, the connection too,
unless framing itself is lost.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from typing import Any, get_type_hints

import msgspec
import pytest

from recollectd.protocol import errors, frames, limits, table
from recollectd.protocol.messages import connection as messages
from recollectd.protocol.messages import conversations, logs
from recollectd.protocol.messages.fields import Message, Write
from support.daemon_process import DaemonProcess
from support.manual_daemon import ManualDaemon, Peer
from support.message_examples import REQUESTS
from support.wire import HELLO, NAMESPACE, Wire, alive, expect, frame, get, put, raw, refusal

MALFORMED_FRAME = errors.MalformedFrame.row.code
INVALID_MESSAGE = errors.InvalidMessage.row.code
INVALID_ARGUMENT = errors.InvalidArgument.row.code
TOO_LARGE = errors.TooLarge.row.code


def with_length(length: int) -> bytes:
    """Return the beginning of a frame that announces so many bytes."""
    return struct.pack("<I", length) + bytes(frames.REQUEST_HEADER.size - 4)


def with_reserved_byte(request: Message) -> bytes:
    whole = bytearray(frame(request, 7, number=1))
    whole[29] = 1
    return bytes(whole)


LOST = {
    "length 0": with_length(0),
    "shorter than a header": with_length(frames.REQUEST_HEADER.size - 5),
    "longer than a frame": with_length(limits.FRAME_BYTES_MAX - 3),
    "the longest length": with_length(0xFFFFFFFF),
    "text": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "the reserved byte": with_reserved_byte(put("k")),
}


@pytest.mark.parametrize("data", LOST.values(), ids=LOST)
def test_lost_framing_is_said_and_ends_the_connection(manual: ManualDaemon, data: bytes) -> None:
    peer = manual.connect()
    peer.feed(data)
    assert [(answer.request_id, refusal(answer.reply)[0]) for answer in peer.replies[1:]] == [(0, MALFORMED_FRAME)]
    assert peer.transport.is_closing()
    expect(messages.Pong, manual.connect().ask(messages.Ping()))


def test_what_lies_behind_lost_framing_is_not_carried_out(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.feed(with_reserved_byte(put("k")) + peer.prepare(put("k"))[0])
    assert len(peer.replies) == 2
    assert manual.journal.last_seq == 0


def test_lost_framing_over_a_real_socket(served: DaemonProcess) -> None:
    with alive(served.socket), served.connect() as wire:
        wire.socket.sendall(with_length(0))
        (answer,) = wire.rest()
        assert refusal(answer.reply)[0] == MALFORMED_FRAME


def test_no_frame_is_kept_waiting_by_a_length_that_cannot_be(served: DaemonProcess) -> None:
    """The length alone is enough: nothing of that size is waited for."""
    with served.connect() as wire:
        wire.socket.sendall(struct.pack("<I", limits.FRAME_BYTES_MAX))
        assert refusal(wire.receive().reply)[0] == MALFORMED_FRAME


@pytest.mark.parametrize("seed", range(20))
def test_garbage_does_no_harm(served: DaemonProcess, seed: int) -> None:
    noise = random.Random(seed)
    with alive(served.socket), Wire(served.socket, hello=None) as wire:
        wire.socket.sendall(frames.PREAMBLE if seed % 2 else b"")
        try:
            wire.socket.sendall(noise.randbytes(noise.randrange(1, 5_000)))
        except (BrokenPipeError, ConnectionResetError):
            return  # it was thrown out before all was sent


def test_one_byte_at_a_time(manual: ManualDaemon) -> None:
    peer = manual.connect(hello=None)
    parts = [peer.prepare(request)[0] for request in (HELLO, put("k", [1, 2]), get("k"))]
    for byte in frames.PREAMBLE + b"".join(parts):
        peer.feed(bytes((byte,)))
    assert peer.answered() == [1, 2, 3]
    assert not any(isinstance(answer.reply, messages.ErrorReply) for answer in peer.replies)


def test_many_frames_in_one_piece(served: DaemonProcess) -> None:
    with served.connect() as wire:
        prepared = [wire.prepare(messages.Ping()) for _ in range(5_000)]
        wire.socket.sendall(b"".join(whole for whole, _ in prepared))
        assert [wire.receive().request_id for _ in prepared] == [request_id for _, request_id in prepared]


def test_half_a_frame_and_an_end(manual: ManualDaemon) -> None:
    peer = manual.connect()
    whole, _ = peer.prepare(put("k"))
    for length in range(1, len(whole)):
        victim = manual.connect()
        victim.feed(whole[:length])
        victim.hang_up()
    assert manual.journal.last_seq == 0
    assert len(manual.daemon.dispatcher.connections) == 1


def test_the_largest_frame_is_taken(served: DaemonProcess) -> None:
    with served.connect() as wire:
        body = b"\xc1" * (limits.FRAME_BYTES_MAX - frames.REQUEST_HEADER.size)
        assert refusal(wire.ask(body))[0] == INVALID_MESSAGE
        expect(messages.Pong, wire.ask(messages.Ping()))


def test_a_client_that_sends_no_more_gets_its_replies(manual: ManualDaemon) -> None:
    """It has shut its side down and reads on; what it asked for is answered, then the connection ends."""
    peer = manual.connect()
    manual.journal.held = True
    ids = peer.pipeline(put("k", 1), get("k"))
    assert peer.connection.eof_received(), "the transport must stay open"
    manual.journal.sync()
    manual.loop.settle()
    assert peer.answered()[-2:] == ids
    assert peer.transport.is_closing()


def test_a_reply_that_has_not_left_yet_when_the_client_sends_no_more(manual: ManualDaemon) -> None:
    """Request and end arrive in one turn of the loop."""
    peer = manual.connect()
    whole, request_id = peer.prepare(messages.Ping())
    memoryview(peer.connection.get_buffer(-1))[: len(whole)] = whole
    peer.connection.buffer_updated(len(whole))
    if not peer.connection.eof_received():
        peer.transport.close()
    manual.loop.settle()
    expect(messages.Pong, peer.answer(request_id).reply)
    assert peer.transport.is_closing()


def test_a_client_that_sends_no_more_over_a_real_socket(served: DaemonProcess) -> None:
    with served.connect() as wire:
        for index in range(50):
            wire.send(put(f"half closed {index}"))
            wire.send(get(f"half closed {index}"))
        wire.send(messages.StatusRequest())
        wire.socket.shutdown(socket.SHUT_WR)
        assert len(wire.rest()) == 101


# -- messages ---------------------------------------------------------------------------------------------------------

NO_MESSAGES: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", INVALID_MESSAGE),
    "no msgpack": (b"\xc1", INVALID_MESSAGE),
    "no array": (msgspec.msgpack.encode({"tag": 16}), INVALID_MESSAGE),
    "an empty array": (b"\x90", INVALID_MESSAGE),
    "a tag that is text": (msgspec.msgpack.encode(["16", ["a"], "k", 1]), INVALID_MESSAGE),
    "an unknown tag": (msgspec.msgpack.encode([4_000, ["a"]]), errors.UnknownMessage.row.code),
    "a negative tag": (msgspec.msgpack.encode([-1]), errors.UnknownMessage.row.code),
    "a cut message": (table.encode(put("k"))[:-3], INVALID_MESSAGE),
    "something behind it": (table.encode(put("k")) + b"\x00", INVALID_MESSAGE),
    "depth": (b"\x91" * 100_000, INVALID_MESSAGE),
    "a length that lies": (b"\xdd\xff\xff\xff\xff\x10", INVALID_MESSAGE),
}


@pytest.mark.parametrize(("body", "code"), NO_MESSAGES.values(), ids=NO_MESSAGES)
def test_what_is_no_message_is_refused_and_the_connection_lives(manual: ManualDaemon, body: bytes, code: int) -> None:
    peer = manual.connect()
    peer.feed(frame(body, 1_000, number=1))
    assert refusal(peer.answer(1_000).reply)[0] == code
    expect(messages.Pong, peer.ask(messages.Ping()))
    assert manual.journal.last_seq == 0


def welcomed_for(manual: ManualDaemon, request: Message) -> Peer:
    """Return a client to whom this request is not out of place."""
    if isinstance(request, messages.Hello):
        peer = manual.connect(hello=None)
        peer.feed(frames.PREAMBLE)
        return peer
    return manual.connect()


def ask_body(peer: Peer, request: Message, body: bytes) -> messages.ErrorReply | None:
    """Send a changed message like the one it was; return the error, None if it was taken."""
    number = peer.number + 1 if isinstance(request, Write) else 0
    request_id = 1_000 + len(peer.replies)
    peer.feed(frame(body, request_id, number=number))
    reply = next(answer.reply for answer in peer.replies if answer.request_id == request_id)
    if isinstance(reply, messages.ErrorReply):
        assert reply.code != errors.InternalError.row.code, reply
        return reply
    peer.number = max(peer.number, number)
    return None


def parts_of(request: Message) -> list[Any]:
    parts: list[Any] = msgspec.msgpack.decode(table.encode(request))
    return parts


def takes_anything(request: Message, name: str) -> bool:
    """Whether any msgpack is right for a field: then its bounds are what tests of bad input look at."""
    return "Raw" in str(get_type_hints(type(request))[name])


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_field_of_a_wrong_type_is_named(manual: ManualDaemon, request_: Message) -> None:
    wrong: tuple[object, ...] = ({"no": "such"}, [[[{}]]], 1.5, msgspec.msgpack.Ext(5, b"ext"))
    for index, name in enumerate(request_.__struct_fields__, start=1):
        if takes_anything(request_, name):
            continue
        for value in wrong:
            if value == 1.5 and "float" in _annotation(request_, name) and name != "weights":
                continue  # which is a number there
            peer = welcomed_for(manual, request_)
            changed = [*parts_of(request_)[:index], value, *parts_of(request_)[index + 1 :]]
            error = ask_body(peer, request_, msgspec.msgpack.encode(changed))
            assert error is not None, (name, value)
            assert error.code in (INVALID_MESSAGE, INVALID_ARGUMENT)
            assert error.field.split("[")[0].split(".")[0] == name
    expect(messages.Pong, manual.connect().ask(messages.Ping()))


def _annotation(request_: Message, name: str) -> str:
    return str(next(info.type for info in msgspec.structs.fields(request_) if info.name == name))


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_extreme_numbers_are_taken_or_refused(manual: ManualDaemon, request_: Message) -> None:
    """Each number of a message on its own, also those that lie deeper, at the ends of what msgpack can say."""
    furnish(manual.connect())
    for extreme in (-(2**63), -1, 0, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1):
        for changed in (*with_number(parts_of(request_)[1:], extreme), *alone(request_, extreme)):
            peer = welcomed_for(manual, request_)
            ask_body(peer, request_, msgspec.msgpack.encode([*parts_of(request_)[:1], *changed]))


def furnish(peer: Peer) -> None:
    """Write what the examples are about."""
    peer.ask(put("profile"))
    peer.ask(logs.LogAppend(NAMESPACE, "events", tuple(raw(index) for index in range(9))))
    peer.ask(conversations.ConversationCreate(NAMESPACE, "chat-1"))
    messages_ = tuple(conversations.NewMessage("user", "x", f"m-{index}") for index in range(9))
    peer.ask(conversations.ConversationAppend(NAMESPACE, "chat-1", messages_))


def alone(request: Message, number: int) -> Iterator[list[Any]]:
    """Yield what is behind the tag with one optional number given and all other optional fields left at default."""
    given = parts_of(request)[1:]
    fields_ = msgspec.structs.fields(type(request))
    bare = [value if field.required else field.default for field, value in zip(fields_, given, strict=False)]
    for index, value in enumerate(given):
        if type(value) is int and not fields_[index].required:
            yield [*bare[:index], number, *bare[index + 1 :]]


def with_number(parts: list[Any], number: int) -> Iterator[list[Any]]:
    """Yield copies of nested arrays, each with another one of its integers replaced."""
    for index, part in enumerate(parts):
        if isinstance(part, list):
            replacements: Iterator[object] = with_number(part, number)
        else:
            replacements = iter([number] if type(part) is int else [])
        for replacement in replacements:
            yield [*parts[:index], replacement, *parts[index + 1 :]]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_missing_field_is_named(manual: ManualDaemon, request_: Message) -> None:
    required = [field.name for field in msgspec.structs.fields(type(request_)) if field.required]
    for count, name in enumerate(required, start=1):
        peer = welcomed_for(manual, request_)
        error = ask_body(peer, request_, msgspec.msgpack.encode(parts_of(request_)[:count]))
        assert error is not None
        assert (error.code, error.field) == (INVALID_MESSAGE, name)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_what_a_newer_client_says_behind_the_known_fields_is_ignored(manual: ManualDaemon, request_: Message) -> None:
    longer = msgspec.msgpack.encode([*parts_of(request_), "news", {"more": 1}])
    error = ask_body(welcomed_for(manual, request_), request_, longer)
    assert error is None or error.code not in (INVALID_MESSAGE, errors.UnknownMessage.row.code)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_every_message_gets_one_of_its_replies(manual: ManualDaemon, request_: Message) -> None:
    peer = welcomed_for(manual, request_)
    row = next(row for row in table.REQUESTS if row.request is type(request_))
    reply = peer.ask(request_)
    assert isinstance(reply, (*row.replies, messages.ErrorReply))
    if isinstance(reply, messages.ErrorReply):
        assert expect(messages.ErrorReply, reply).code != errors.InternalError.row.code
