"""Records: decoded with their values, their times text when asked for, and otherwise a structure like the others."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollectd.client import reading
from recollectd.client.core import Connection
from recollectd.client.reading import StateRecord
from recollectd.client.results import Page, Record
from recollectd.client.session import Session
from recollectd.protocol import errors, frames, limits, table
from recollectd.protocol.messages import logs, state
from recollectd.protocol.messages.connection import Pong, Welcome
from recollectd.protocol.messages.fields import NIL, Message, Reply

WIRE = StateRecord("k", {"a": [1]}, 3, 0, 1_500_000, None, 9)
SHAPE = {
    "key": "k",
    "value": {"a": [1]},
    "version": 3,
    "created_at": "1970-01-01T00:00:00.000000Z",
    "updated_at": "1970-01-01T00:00:01.500000Z",
    "expires_at": None,
}


def test_a_record_is_written_as_its_fields() -> None:
    record = Record(WIRE)
    assert msgspec.json.decode(msgspec.json.encode(record)) == SHAPE
    assert msgspec.to_builtins(Page([record], b"")) == {"records": [SHAPE], "cursor": ""}
    assert list(SHAPE) == list(Record.__match_args__)


def test_a_record_is_compared_copied_and_shown_by_its_fields() -> None:
    record = Record(WIRE)
    assert record == Record(msgspec.structs.replace(WIRE, revision=10))
    assert record != Record(msgspec.structs.replace(WIRE, version=4))
    assert record != SHAPE
    assert copy.copy(record) == copy.deepcopy(record) == record
    assert hash(Record(msgspec.structs.replace(WIRE, value=1))) == hash(Record(msgspec.structs.replace(WIRE, value=1)))
    assert repr(record).startswith("Record(key='k', value={'a': [1]}, version=3, created_at='1970-01-01T00:00:00.0")
    match record:
        case Record("k", value, version):
            assert (value, version) == ({"a": [1]}, 3)
        case _:
            pytest.fail("no match")


def test_a_record_cannot_be_changed() -> None:
    record: Any = Record(WIRE)
    with pytest.raises(AttributeError):
        record.value = 1
    with pytest.raises(AttributeError):
        record.other = 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def fed(connection: Connection[int], stream: bytes, piece: int) -> list[Any]:
    """Return the replies that come with a stream, each piece written over the one before."""
    got = []
    while stream:
        room = connection.room()
        size = min(len(room), piece, len(stream))
        room[:size] = stream[:size]
        got += [answer.reply for answer in connection.receive(size)]
        stream = stream[size:]
    return got


def answered(request: Message, *replies: Reply, piece: int = limits.FRAME_BYTES_MAX) -> list[Any]:
    """Return what a connection makes of the replies to a request sent several times."""
    connection: Connection[int] = Connection()
    connection.greet(Session().hello("test"))
    welcome = Welcome(1, "", b"s" * 16, b"i" * 16, "", 0, {})
    assert fed(connection, frames.pack_reply(0, 0, table.encode(welcome)), piece) == []
    for number in range(len(replies)):
        connection.send(number, table.encode(request), decode=reading.decoder_of(request))
    stream = b"".join(frames.pack_reply(number, 0, table.encode(reply)) for number, reply in enumerate(replies, 1))
    got = fed(connection, stream, piece)
    assert connection.idle
    room = connection.room()
    room[:] = bytes(len(room))  # nothing that was decoded may lie in the buffer
    return got


@given(st.lists(VALUES, min_size=1, max_size=5), st.integers(1, 200))
def test_values_come_as_they_were_put_in_any_pieces(values: list[Any], piece: int) -> None:
    raw = [msgspec.Raw(msgspec.msgpack.encode(value)) for value in values]
    sent = [state.StateRecord(f"k{number}", each, 1, 2, 3, 4, 5) for number, each in enumerate(raw)]
    got = answered(state.StateGet(("a",), "k"), *sent, piece=piece)
    assert [each.value for each in got] == values
    assert [each.key for each in got] == [each.key for each in sent]
    (page,) = answered(state.StateGetMany(("a",), ()), state.StateRecords((None, *sent)), piece=piece)
    assert [None if each is None else each.value for each in page.records] == [None, *values]
    (alone,) = answered(state.StateGetValues(("a",), ()), state.StateValues((NIL, *raw), (0,)), piece=piece)
    assert (list(alone.values), alone.absent) == ([None, *values], (0,))


def test_values_that_stay_encoded_do_not_lie_in_the_buffer() -> None:
    items = tuple(logs.LogItem(number, 1, msgspec.Raw(b"\xa1%d" % number)) for number in range(3))
    page = logs.LogPage(items, 0, 3, 0)
    assert answered(logs.LogRead(("a",), "log"), page, page) == [page, page]


def test_a_reply_of_another_kind_is_left_to_the_session() -> None:
    assert answered(state.StateGet(("a",), "k"), Pong(1)) == [Pong(1)]
    with pytest.raises(errors.InvalidMessage, match="no reply"):
        answered(state.StateGet(("a",), "k"), Pong(-1))


def test_a_reading_differs_from_its_message_in_values_alone() -> None:
    for read, message in (
        (reading.StateRecord, state.StateRecord),
        (reading.StateRecords, state.StateRecords),
        (reading.StatePage, state.StatePage),
    ):
        assert issubclass(read, message)
        assert read.__struct_fields__ == message.__struct_fields__
        assert table.tag_of(read) == table.tag_of(message)
