"""Frames: any way of cutting the stream gives the same frames, and nothing impossible is waited for."""

from __future__ import annotations

import random
import struct
import sys
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollectd.protocol import errors, frames, limits, table

HEADERS: Final = st.builds(
    frames.RequestHeader,
    request_id=st.integers(0, 2**32 - 1),
    number=st.integers(0, 2**64 - 1),
    after=st.integers(0, 2**64 - 1),
    deadline_ms=st.integers(0, 2**32 - 1),
    flags=st.integers(0, 255),
    span=st.integers(0, 2**16 - 1),
)


@given(st.lists(st.tuples(HEADERS, st.binary(max_size=200)), max_size=8), st.data())
def test_any_cutting_gives_the_same_requests(
    sent: list[tuple[frames.RequestHeader, bytes]], data: st.DataObject
) -> None:
    whole = [frames.pack_request(header, body) for header, body in sent]
    stream = b"".join(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20), label="cuts"))
    splitter = frames.FrameSplitter(frames.REQUEST_HEADER.size)
    received: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += splitter.feed(memoryview(stream)[start:end])
        assert splitter.pending_bytes < max((len(frame) for frame in whole), default=1)
    assert received == whole
    assert splitter.pending_bytes == 0
    assert [(header, bytes(body)) for header, body in map(frames.unpack_request, received)] == sent


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=50)), max_size=8))
def test_replies_byte_by_byte(sent: list[tuple[int, int, bytes]]) -> None:
    splitter = frames.FrameSplitter(frames.REPLY_HEADER.size)
    received: list[bytes] = []
    for byte in b"".join(frames.pack_reply(*reply) for reply in sent):
        received += splitter.feed(bytes((byte,)))
    unpacked = [frames.unpack_reply(frame) for frame in received]
    assert [(request_id, position, bytes(body)) for request_id, position, body in unpacked] == sent


@pytest.mark.parametrize("header_bytes", [frames.REQUEST_HEADER.size, frames.REPLY_HEADER.size])
def test_least_and_greatest_length(header_bytes: int) -> None:
    least, greatest = header_bytes - 4, limits.FRAME_BYTES_MAX - 4
    for length in (least - 1, greatest + 1, 0, 2**32 - 1):
        with pytest.raises(frames.FramingError, match=f"announces {length} bytes"):
            frames.FrameSplitter(header_bytes).feed(struct.pack("<I", length))
    for length in (least, greatest):
        assert frames.FrameSplitter(header_bytes).feed(struct.pack("<I", length)) == []


def test_a_greatest_frame_arrives() -> None:
    body = bytes(limits.FRAME_BYTES_MAX - frames.REPLY_HEADER.size)
    frame = frames.pack_reply(1, 2, body)
    assert len(frame) == limits.FRAME_BYTES_MAX
    splitter = frames.FrameSplitter(frames.REPLY_HEADER.size)
    assert splitter.feed(frame[:-1]) == []
    assert splitter.feed(frame[-1:] + frame[:10]) == [frame]
    assert splitter.pending_bytes == 10


def received(buffer: frames.ReplyBuffer, stream: bytes, cuts: list[int]) -> list[tuple[int, int, bytes]]:
    """Return the replies that a buffer cuts out of a stream which comes in pieces."""
    replies = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        piece = stream[start:end]
        while piece:
            room = buffer.room()
            size = min(len(room), len(piece))
            room[:size] = piece[:size]
            replies += [(request_id, position, bytes(body)) for request_id, position, body in buffer.take(size)]
            piece = piece[size:]
    return replies


REPLIES: Final = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=200))


@given(st.lists(REPLIES, max_size=8), st.data())
def test_any_cutting_gives_the_same_replies(sent: list[tuple[int, int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(frames.pack_reply(*reply) for reply in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20), label="cuts"))
    buffer = frames.ReplyBuffer()
    assert received(buffer, stream, cuts) == sent
    assert received(buffer, stream, list(range(len(stream)))) == sent


def test_replies_larger_than_the_buffer_arrive_between_small_ones() -> None:
    sizes = [0, frames.RECEIVE_BYTES, 7, frames.RECEIVE_BYTES - frames.REPLY_HEADER.size, 3 * frames.RECEIVE_BYTES, 1]
    draw = random.Random(1)
    sent = [(number, number, draw.randbytes(size)) for number, size in enumerate(sizes)]
    stream = b"".join(frames.pack_reply(*reply) for reply in sent)
    buffer = frames.ReplyBuffer()
    for cuts in ([], [17, 100_000], list(range(0, len(stream), 4_093))[1:]):
        assert received(buffer, stream, cuts) == sent
    assert len(buffer.room()) == frames.RECEIVE_BYTES, "what a large reply took is given back"


def test_a_greatest_reply_arrives_and_a_greater_one_is_refused_at_once() -> None:
    frame = frames.pack_reply(1, 2, bytes(limits.FRAME_BYTES_MAX - frames.REPLY_HEADER.size))
    ((request_id, position, body),) = received(frames.ReplyBuffer(), frame, [])
    assert (request_id, position, len(body)) == (1, 2, limits.FRAME_BYTES_MAX - frames.REPLY_HEADER.size)
    whole = frames.pack_reply(1, 1, b"x")
    for length in (frames.REPLY_HEADER.size - 5, limits.FRAME_BYTES_MAX - 3, 0, 2**32 - 1):
        for following in (b"", bytes(100)):
            with pytest.raises(frames.FramingError, match=f"announces {length} bytes"):
                received(frames.ReplyBuffer(), whole + struct.pack("<I", length) + following, [])


def test_reserved_byte() -> None:
    frame = bytearray(frames.pack_request(frames.RequestHeader(1), b""))
    frame[29] = 1
    with pytest.raises(frames.FramingError, match="reserved"):
        frames.unpack_request(bytes(frame))


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_ten_million_frames() -> None:
    """Right frames with mutated messages, cut anywhere: each arrives once, only declared errors come, nothing stays."""
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    splitter = frames.FrameSplitter(frames.REQUEST_HEADER.size)
    blocks = 0
    for turn in range(1_000):
        whole = [frames.pack_request(frames.RequestHeader(draw.getrandbits(32)), _body(draw)) for _ in range(10_000)]
        stream, start, received = b"".join(whole), 0, []
        while start < len(stream):
            end = start + draw.choice((1, 17, 1_000, 65_536))
            received += splitter.feed(stream[start:end])
            start = end
        assert received == whole, f"seed {seed}"
        assert splitter.pending_bytes == 0, f"seed {seed}"
        for frame in received:
            try:
                table.decode_request(frames.unpack_request(frame)[1])
            except (errors.ProtocolError, errors.InvalidArgument):
                continue
        if turn == 10:
            blocks = sys.getallocatedblocks()
    assert sys.getallocatedblocks() - blocks < 10_000, f"seed {seed}"


def _body(draw: random.Random) -> bytes:
    body = bytearray(b"\x98\x10\x91\xa1a\xa1k\x81\xa1x\x01\xc0\xc2\xc0\xc2")
    for _ in range(draw.randrange(4)):
        body[draw.randrange(len(body))] = draw.randrange(256)
    return bytes(body[: draw.randrange(len(body) + 1)])
