"""The native intake alone: bytes in whatever pieces, what it answers and what it leaves, bytes out in order."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Final

import pytest

from recollectd._native.hot_reads import HotReads
from recollectd._native.intake import Intake
from recollectd._native.value_cache import ValueCache
from recollectd.protocol import frames, limits, table
from recollectd.protocol.frames import RequestHeader
from recollectd.protocol.messages import conversations, logs, state
from recollectd.protocol.messages.connection import Ping
from recollectd.protocol.messages.fields import NIL, Kind, Message
from recollectd.storage.keyspace import record_key
from support.message_examples import raw
from support.wire import Answer, answer_in, expect

NOW_US: Final = 1_800_000_000_000_000
MIB: Final = 1024 * 1024
KEY: Final = record_key(Kind.STATE, ("n",), "k")
GET: Final = state.StateGet(("n",), "k")
# What belongs to the header and is no body of the slower route.
BEYOND: Final = 2**63


class Transport:
    """A transport that is full until the test takes what is in it."""

    def __init__(self) -> None:
        self.unsent = bytearray()

    def write(self, data: bytes) -> None:
        self.unsent += data

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)


class Station:
    """An intake, a cache behind it, and everything that comes out."""

    def __init__(self, *, bytes_in_flight_max: int = MIB) -> None:
        self.cache = ValueCache(4 * MIB, 1)
        self.cache.put(1, KEY, b"\x07", 1, NOW_US, NOW_US, 0, 1, False)
        self.reads = HotReads(
            self.cache,
            now_us=lambda: NOW_US,
            touched=lambda touches: None,
            limits=limits.table(),
            bytes_in_flight_max=bytes_in_flight_max,
            request_bytes=1_024,
        )
        self.reads.position = 5
        self.left: list[bytes] = []
        self.unframed: list[bytes] = []
        self.transport = Transport()
        self.intake = Intake(
            self.reads, begin=self._begin, take=self.left.append, unframed=self._lose, time=lambda: 1.0
        )
        self.intake.begun = self.intake.welcomed = True
        self.intake.open(self.transport, -1)

    def _begin(self, data: bytes) -> int:
        raise AssertionError("it has begun")

    def _lose(self, start: bytes) -> None:
        self.unframed.append(start)
        self.intake.end()

    def feed(self, data: bytes) -> None:
        while data:
            buffer = self.intake.get_buffer(-1)
            size = min(len(data), len(buffer))
            buffer[:size] = data[:size]
            self.intake.buffer_updated(size)
            data = data[size:]

    def ask(self, message: Message | bytes, **header: int) -> Answer | None:
        """Send a request; return its answer, None when it was left to the slower route."""
        self.left.clear()
        self.feed(frame(message, **header))
        found = self.answers()
        assert bool(found) != bool(self.left)
        return found[0] if found else None

    def answers(self) -> list[Answer]:
        data, self.transport.unsent[:] = bytes(self.transport.unsent), b""
        return split(data)


def frame(message: Message | bytes, request_id: int = 9, **header: int) -> bytes:
    body = message if isinstance(message, bytes) else table.encode(message)
    return frames.pack_request(RequestHeader(request_id, **header), body)


def split(data: bytes) -> list[Answer]:
    splitter = frames.FrameSplitter(frames.REPLY_HEADER.size)
    found = [answer_in(each) for each in splitter.feed(data)]
    assert not splitter.pending_bytes
    return found


@pytest.fixture
def station() -> Station:
    return Station()


# -- bytes in -------------------------------------------------------------------------------------------------------


def test_frames_in_any_two_pieces(station: Station) -> None:
    data = frame(GET, 1) + frame(Ping(), 2) + frame(GET, 3)
    for cut in range(len(data) + 1):
        station.left.clear()
        station.feed(data[:cut])
        station.feed(data[cut:])
        assert [answer.request_id for answer in station.answers()] == [1, 3]
        assert station.left == [frame(Ping(), 2)]


def test_frames_byte_by_byte(station: Station) -> None:
    data = frame(GET, 1) + frame(Ping(), 2) + frame(GET, 3)
    for place in range(len(data)):
        station.feed(data[place : place + 1])
    assert [answer.request_id for answer in station.answers()] == [1, 3]
    assert station.left == [frame(Ping(), 2)]


def test_a_frame_larger_than_the_buffer(station: Station) -> None:
    large = frame(state.StatePut(("n",), "k", raw(b"v" * MIB)), 4, number=1)
    station.feed(frame(GET, 1) + large + frame(GET, 2))
    assert station.left == [large]
    assert [answer.request_id for answer in station.answers()] == [1, 2]


@pytest.mark.parametrize("length", [0, 27, limits.FRAME_BYTES_MAX - 3, 2**32 - 1])
def test_lengths_that_are_none(station: Station, length: int) -> None:
    """Found by the four bytes alone, and nothing that came with them is carried out."""
    station.feed(frame(GET) + frames.LENGTH.pack(length))
    assert station.unframed == [frames.LENGTH.pack(length)]
    assert not station.answers()
    station.feed(frame(GET))
    assert not station.answers(), "it has ended"


def test_the_smallest_and_the_largest_frame(station: Station) -> None:
    smallest = frame(b"")
    station.feed(smallest)
    assert station.left == [smallest]
    largest = frame(bytes(limits.FRAME_BYTES_MAX - frames.REQUEST_HEADER.size))
    station.feed(largest)
    assert station.left[1:] == [largest]
    assert not station.unframed


# -- what it answers ------------------------------------------------------------------------------------------------


def test_a_cached_read_is_answered(station: Station) -> None:
    answer = station.ask(GET)
    assert answer is not None
    assert (answer.request_id, answer.position) == (9, 5)
    record = state.StateRecord("k", raw(7), 1, NOW_US, NOW_US, None, 1)
    assert answer.body == table.encode(record)
    assert station.reads.answered() == {table.tag_of(state.StateGet): 1}


@pytest.mark.parametrize(
    ("message", "header"),
    [
        (state.StateGet(("n",), "absent"), {}),
        (state.StateGet(("n",), "k", version=1), {}),
        (state.StateGet(("n",), "k", as_of=NOW_US), {}),
        (state.StateGet(("n",) * 17, "k"), {}),
        (state.StateGet(("n" * 129,), "k"), {}),
        (state.StateGet(("n",), "k" * 1_025), {}),
        (state.StateGet(("n",), ""), {}),
        (state.StateGet((), "k"), {}),
        (table.encode(GET)[:-1], {}),
        (table.encode(GET) + b"\xc0", {}),
        (b"\x96" + table.encode(GET)[1:] + b"\xc0", {}),
        (state.StateGetMany(("n",), ()), {}),
        (state.StateGetMany(("n",), ("k", "absent")), {}),
        (state.StateGetMany(("n",), ("k",) * 8_193), {}),
        (state.StateGetValues(("n",), ()), {}),
        (state.StateGetValues(("n",), ("k", "absent")), {}),
        (state.StateGetValues(("n",), ("k",) * 8_193), {}),
        (b"\x93\x13\x91\xa1n\xdd\xff\xff\xff\xff", {}),
        (b"\x93\x13\xdd\xff\xff\xff\xff", {}),
        (b"\x93\x11\x91\xdb\xff\xff\xff\xff\xa1k", {}),
        (logs.LogRead(("n",), "log", last=1, start=0), {}),
        (conversations.ConversationHistory(("n",), "k", last=1, limit=10_001), {}),
        (GET, {"after": 6}),
        (GET, {"after": BEYOND}),
        (GET, {"deadline_ms": limits.DEADLINE_MS_MAX + 1}),
        (GET, {"flags": 2}),
    ],
)
def test_everything_else_is_left(station: Station, message: Message | bytes, header: dict[str, int]) -> None:
    assert station.ask(message, **header) is None
    assert station.ask(GET) is not None


def test_states_of_the_connection_in_which_nothing_is_answered(station: Station) -> None:
    for name in ("welcomed", "choked"):
        usual = getattr(station.intake, name)
        setattr(station.intake, name, not usual)
        assert station.ask(GET) is None, name
        setattr(station.intake, name, usual)
        assert station.ask(GET) is not None


def test_bounds_hold_for_what_would_be_answered(station: Station) -> None:
    intake, size = station.intake, len(table.encode(GET))
    for name, most in (
        ("requests_in_flight", limits.REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX - 1),
        ("bytes_in_flight", limits.IN_FLIGHT_BYTES_PER_CONNECTION_MAX - size),
    ):
        setattr(intake, name, most)
        assert station.ask(GET) is not None, name
        setattr(intake, name, most + 1)
        assert station.ask(GET) is None, name
        setattr(intake, name, 0)
    station.reads.bytes_in_flight = MIB - size - 1_024
    assert station.ask(GET) is not None
    station.reads.bytes_in_flight += 1
    assert station.ask(GET) is None


def test_a_read_behind_a_write_of_its_record_is_left(station: Station) -> None:
    other = record_key(Kind.STATE, ("n",), "other")
    station.intake.mark((KEY, other))
    assert station.ask(GET) is None
    assert station.ask(state.StateGetMany(("n",), ("k",))) is None
    station.intake.mark((KEY,))
    station.intake.unmark((KEY, other))
    assert station.ask(GET) is None
    station.intake.unmark((KEY,))
    assert station.ask(GET) is not None
    station.intake.mark(None)
    assert station.ask(GET) is None
    station.intake.unmark(None)
    assert station.ask(GET) is not None


def test_a_write_in_the_same_piece_counts_for_the_reads_behind_it(station: Station) -> None:
    """What the slower route sets off while it takes a frame holds for the next one, though that was read before."""
    taken: list[bytes] = []

    def take(whole: bytes) -> None:
        taken.append(whole)
        intake.mark((KEY,))

    intake = Intake(station.reads, begin=lambda data: 0, take=take, unframed=lambda start: None, time=lambda: 1.0)
    intake.begun = intake.welcomed = True
    intake.open(station.transport, -1)
    data = frame(GET, 1) + frame(Ping(), 2) + frame(GET, 3)
    intake.get_buffer(-1)[: len(data)] = data
    intake.buffer_updated(len(data))
    assert [answer.request_id for answer in station.answers()] == [1]
    assert taken == [frame(Ping(), 2), frame(GET, 3)]


def test_a_page_ends_after_its_bytes(station: Station) -> None:
    names = tuple(f"{number}" for number in range(400))
    for name in names:
        station.cache.put(
            1, record_key(Kind.STATE, ("n",), name), bytes(raw(b"v" * 20_000)), 1, NOW_US, NOW_US, 0, 1, False
        )
    held = [name for name in names if station.ask(state.StateGet(("n",), name)) is not None]
    answer = station.ask(state.StateGetMany(("n",), tuple(held) * 3))
    assert answer is not None
    records = expect(state.StateRecords, answer.reply).records
    size = 20_003 + 64
    assert len(records) == -(-limits.PAGE_BYTES_MAX // size) < 3 * len(held)


def test_values_come_alone_and_absent_ones_are_named(station: Station) -> None:
    """A stored nil and an absent record look alike among the values."""
    for number, name in enumerate(("gone", "k2", "k3")):
        key = record_key(Kind.STATE, ("n",), name)
        if number:
            station.cache.put(
                1, key, bytes(raw(None if number == 1 else b"v" * 70_000)), 1, NOW_US, NOW_US, 0, 1, False
            )
        else:
            station.cache.put_absent(1, key)
    for count in (1, 20, 300):
        names = ("k3", "gone", "k2", "gone") * count
        answer = station.ask(state.StateGetValues(("n",), names[:-1]))
        assert answer is not None
        reply = expect(state.StateValues, answer.reply)
        end = min(len(names) - 1, len(reply.values))
        large = raw(b"v" * 70_000)
        assert reply.values == ((large, NIL, NIL, NIL) * count)[:end]
        assert reply.absent == tuple(index for index in range(end) if index % 2)
    assert end < 4 * 300 - 1, "the last page was full"
    assert station.reads.answered() == {table.tag_of(state.StateGetValues): 3}


# -- bytes out ------------------------------------------------------------------------------------------------------


def test_replies_keep_their_order(station: Station) -> None:
    station.intake.reply(1, 5, b"queued")
    station.feed(frame(GET, 2))
    station.intake.reply(3, 5, b"behind")
    station.intake.flush()
    whole = frames.FrameSplitter(frames.REPLY_HEADER.size).feed(bytes(station.transport.unsent))
    assert [frames.unpack_reply(each)[0] for each in whole] == [1, 2, 3]


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        yield ours, theirs


def received(theirs: socket.socket) -> bytes:
    parts = []
    while True:
        try:
            parts.append(theirs.recv(65_536))
        except BlockingIOError:
            return b"".join(parts)


def test_what_a_socket_does_not_take_goes_by_the_transport(
    station: Station, sockets: tuple[socket.socket, socket.socket]
) -> None:
    """And as long as the transport holds something, so does everything behind it."""
    ours, theirs = sockets
    station.intake.open(station.transport, ours.fileno())
    station.feed(b"".join(frame(GET, number) for number in range(4_000)))
    assert station.transport.unsent
    direct = received(theirs)
    station.feed(frame(GET, 4_000))
    assert not received(theirs)
    by_transport = bytes(station.transport.unsent)
    station.transport.unsent.clear()
    station.feed(frame(GET, 4_001))
    assert not station.transport.unsent
    stream = direct + by_transport + received(theirs)
    assert [answer.request_id for answer in split(stream)] == list(range(4_002))


def test_nothing_is_sent_once_the_connection_is_gone(
    station: Station, sockets: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = sockets
    station.intake.open(station.transport, ours.fileno())
    station.intake.close()
    station.intake.reply(1, 5, b"late")
    station.intake.flush()
    station.feed(frame(GET))
    assert not received(theirs)
    assert not station.transport.unsent
