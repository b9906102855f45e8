"""A connection's protocol, without I/O: bytes in, answers out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollectd.client.core import Answer, Connection
from recollectd.client.session import Session
from recollectd.protocol import errors, frames, limits, table
from recollectd.protocol.messages.connection import Done, ErrorReply, Hello, Ping, Pong, Welcome
from recollectd.protocol.messages.fields import Reply
from recollectd.protocol.messages.transactions import Changes, Watch, Watching

PING = table.encode(Ping())


def reply_frame(request_id: int, reply: Reply, position: int = 0) -> bytes:
    return frames.pack_reply(request_id, position, table.encode(reply))


def welcome(**in_force: int) -> Welcome:
    return Welcome(1, "0.1.0", b"s" * 16, b"i" * 16, "me", 7, {**limits.table(), **in_force})


def ready(**in_force: int) -> Connection[str]:
    connection: Connection[str] = Connection()
    connection.greet(Session().hello("test"))
    assert receive(connection, reply_frame(0, welcome(**in_force))) == []
    assert connection.welcome is not None
    return connection


def receive(connection: Connection[str], data: bytes) -> list[Answer[str]]:
    """Have a connection receive bytes, as they would come from a socket."""
    answers = []
    while data:
        room = connection.room()
        size = min(len(room), len(data))
        room[:size] = data[:size]
        answers += connection.receive(size)
        data = data[size:]
    return answers


def request_id_of(frame: bytes) -> int:
    return frames.unpack_request(frame)[0].request_id


def test_a_connection_begins_with_preamble_and_hello() -> None:
    connection: Connection[str] = Connection()
    sent = connection.greet(Session().hello("name"))
    assert sent.startswith(frames.PREAMBLE)
    header, body = frames.unpack_request(sent[len(frames.PREAMBLE) :])
    assert header == frames.RequestHeader(0)
    assert table.decode_request(body) == Hello(1, 1, "name", b"", None)


def test_nothing_is_sent_before_the_welcome() -> None:
    with pytest.raises(AssertionError):
        Connection[str]().send("early", PING)


def test_the_refusal_of_a_hello_is_raised() -> None:
    connection: Connection[str] = Connection()
    with pytest.raises(errors.TooManyConnections) as raised:
        receive(connection, reply_frame(0, ErrorReply(302, "full", "", 250)))
    assert raised.value.retry_after_ms == 250


@pytest.mark.parametrize("reply", [Pong(1), welcome()])
def test_what_is_no_welcome_breaks_the_connection(reply: Reply) -> None:
    connection = ready() if isinstance(reply, Welcome) else Connection[str]()
    with pytest.raises(errors.InvalidMessage):
        receive(connection, reply_frame(0, reply))


@given(st.permutations(range(6)), st.integers(1, 40))
def test_answers_find_their_requests_in_any_order_and_any_pieces(order: list[int], piece: int) -> None:
    connection = ready()
    ids = [request_id_of(connection.send(f"request {index}", PING)) for index in range(6)]
    stream = b"".join(reply_frame(ids[index], Pong(index), position=100 + index) for index in order)
    answers = [answer for at in range(0, len(stream), piece) for answer in receive(connection, stream[at : at + piece])]
    assert [(answer.token, answer.position, answer.reply) for answer in answers] == [
        (f"request {index}", 100 + index, Pong(index)) for index in order
    ]
    assert connection.idle


def test_requests_in_flight_are_known_in_the_order_sent() -> None:
    connection = ready()
    frame_ids = [request_id_of(connection.send(token, PING)) for token in "abc"]
    receive(connection, reply_frame(frame_ids[1], Pong(0)))
    assert list(connection.in_flight) == ["a", "c"]
    assert not connection.idle


def test_an_answer_to_nothing_breaks_the_connection() -> None:
    connection = ready()
    request_id = request_id_of(connection.send("once", PING))
    receive(connection, reply_frame(request_id, Pong(0)))
    with pytest.raises(errors.InvalidMessage, match="not in flight"):
        receive(connection, reply_frame(request_id, Pong(0)))


@pytest.mark.parametrize(
    "bad", [b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", frames.pack_reply(1, 0, b"\xc1"), frames.pack_reply(1, 0, b"")]
)
def test_what_is_no_reply_breaks_the_connection(bad: bytes) -> None:
    connection = ready()
    connection.send("waiting", PING)
    with pytest.raises(errors.ProtocolError):
        receive(connection, bad)


def test_answers_in_front_of_what_breaks_the_connection_are_lost_with_it() -> None:
    connection = ready()
    ids = [request_id_of(connection.send(token, PING)) for token in "ab"]
    with pytest.raises(errors.InvalidMessage):
        receive(connection, reply_frame(ids[0], Pong(0)) + frames.pack_reply(ids[1], 0, b"\xc1"))
    assert sorted(connection.in_flight) == ["a", "b"], "both may have been carried out, and nobody was told"


def test_an_error_that_ends_the_connection_is_raised() -> None:
    connection = ready()
    connection.send("waiting", PING)
    with pytest.raises(errors.MalformedFrame, match="lost"):
        receive(connection, reply_frame(0, ErrorReply(100, "framing is lost")))


def test_a_watch_stays_open_behind_its_answers_until_an_error() -> None:
    connection = ready()
    request_id = request_id_of(connection.send("watch", table.encode(Watch(("a",)))))
    for reply in (Watching(3), Changes((), 4), Changes((), 5)):
        (answer,) = receive(connection, reply_frame(request_id, reply))
        assert answer.token == "watch"
        assert not connection.idle
    receive(connection, reply_frame(request_id, ErrorReply(211, "cut off")))
    assert connection.idle


def test_header_fields_stand_behind_the_request_id() -> None:
    header, body = frames.unpack_request(ready().send("write", PING, (9, 8, 7, 1, 3)))
    assert header == frames.RequestHeader(1, number=9, after=8, deadline_ms=7, flags=1, span=3)
    assert body == PING


def test_request_ids_go_round_and_never_name_two_requests_in_flight() -> None:
    connection = ready()
    first = request_id_of(connection.send("stays", PING))
    connection._last_id = 0xFFFF_FFFE
    ids = [request_id_of(connection.send(f"more {index}", PING)) for index in range(3)]
    assert ids == [0xFFFF_FFFF, first + 1, first + 2]


def test_the_daemons_bounds_in_force_are_kept() -> None:
    connection = ready(requests_in_flight_per_connection_max=2, in_flight_bytes_per_connection_max=1_000)
    assert connection.has_room(b"x" * 5_000), "alone, a request of any size may go"
    connection.send("first", b"x" * 500)
    assert not connection.has_room(b"x" * 500)
    assert connection.has_room(PING)
    second = request_id_of(connection.send("second", PING))
    assert not connection.has_room(PING)
    receive(connection, reply_frame(second, Done()))
    assert connection.has_room(PING)


def test_answered_bytes_make_room() -> None:
    connection = ready(in_flight_bytes_per_connection_max=1_000)
    for _ in range(5):
        request_id = request_id_of(connection.send("large", b"x" * 700))
        receive(connection, reply_frame(request_id, Done()))
    connection.send("small", PING)
    assert connection.has_room(b"x" * 700)
    assert not connection.has_room(b"x" * 1_000)
