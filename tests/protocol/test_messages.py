"""Messages: what is accepted, and how what is not is refused, naming the field."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from recollectd.protocol import errors, table
from recollectd.protocol.messages import connection, conversations, fields, state, transactions
from support.message_examples import METADATA, NAMESPACE, REPLIES, REQUESTS

pack: Final = msgspec.msgpack.encode


def name(message: Struct) -> str:
    return type(message).__name__


def elements(message: Struct) -> list[Any]:
    decoded: list[Any] = msgspec.msgpack.decode(table.encode(message))
    return decoded


@pytest.mark.parametrize("message", REQUESTS, ids=name)
def test_a_newer_client_may_append_fields(message: fields.Message) -> None:
    assert table.decode_request(pack([*elements(message), "new", {"x": [1]}])) == message


@pytest.mark.parametrize("message", REPLIES, ids=name)
def test_a_newer_daemon_may_append_fields(message: fields.Reply) -> None:
    assert table.decode_reply(pack([*elements(message), "new", {"x": [1]}])) == message


def test_structures_may_grow_as_well() -> None:
    request = table.decode_request(pack([49, ["a"], "c", [["user", "x", None, None, None, None, "new"]]]))
    assert request == conversations.ConversationAppend(("a",), "c", (conversations.NewMessage("user", "x"),))


@pytest.mark.parametrize("message", REQUESTS, ids=name)
def test_fields_with_defaults_may_be_left_out(message: fields.Message) -> None:
    infos = msgspec.structs.fields(message)
    required = [info for info in infos if info.required]
    short = table.decode_request(pack(elements(message)[: 1 + len(required)]))
    assert type(short) is type(message)
    for info in infos:
        expected = getattr(message, info.name) if info.required else info.default
        assert getattr(short, info.name) == expected


@pytest.mark.parametrize("message", REQUESTS, ids=name)
def test_every_truncation_is_refused(message: fields.Message) -> None:
    body = table.encode(message)
    for end in range(len(body)):
        with pytest.raises(errors.InvalidMessage):
            table.decode_request(body[:end])
    with pytest.raises(errors.InvalidMessage, match="trailing"):
        table.decode_request(body + b"\x00")


@pytest.mark.parametrize("message", REQUESTS, ids=name)
def test_a_missing_field_is_named(message: fields.Message) -> None:
    required = [info.name for info in msgspec.structs.fields(message) if info.required]
    for count, missing in enumerate(required):
        with pytest.raises(errors.InvalidMessage, match="missing") as caught:
            table.decode_request(pack(elements(message)[: 1 + count]))
        assert caught.value.field == missing


@pytest.mark.parametrize("message", REQUESTS, ids=name)
def test_a_field_of_another_type_is_named(message: fields.Message) -> None:
    for place, info in enumerate(msgspec.structs.fields(message)):
        if Raw in (info.type, getattr(info.type, "__origin__", None)):
            continue
        changed = elements(message)
        changed[1 + place] = b"\xff" if "float" in str(info.type) else 1.5
        with pytest.raises(errors.InvalidMessage) as caught:
            table.decode_request(pack(changed))
        assert caught.value.field == info.name


@pytest.mark.parametrize("tag", [0, 200, -1, 2**64 - 1])
def test_an_unknown_message_is_refused_by_its_tag(tag: int) -> None:
    with pytest.raises(errors.UnknownMessage, match=str(tag)):
        table.decode_request(pack([tag, "whatever"]))


INVALID: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"", "truncated", ""),
    (b"\xc1", "malformed", ""),
    (pack(16), "Expected `array`", ""),
    (pack([]), "length 1", ""),
    (pack({}), "Expected `array`", ""),
    (pack([True, ["a"]]), "Expected `int`", ""),
    (pack([16, ["a", 5], "k", 1]), "Expected `str`", "namespace[1]"),
    (pack([16, ["a"], "k", 1, float("nan")]), "float", "ttl_us"),
    (pack([17, ["a"], "k", None, float("nan")]), "float", "as_of"),
    (pack([49, ["a"], "c", [["user"]]]), "missing", "messages[0].content"),
    (pack([64, [], [[17, ["a"], "k"]]]), "tag 17 is none of those allowed", "operations[0]"),
    (pack([64, [], [["put"]]]), "Expected `int`, got `str` as its tag", "operations[0]"),
    (pack([64, [], [[16, ["a"], "k", 1], [18, ["a"], 5]]]), "Expected `str`", "operations[1].key"),
    (pack([64, [[1, 1, ["a"], "k", "x"]], []]), "Expected `int`", "guards[0].revision"),
    (pack([64, [[2, 1, ["a"]]], []]), "missing", "guards[0].position"),
    (b"\x94\x10\x91\xa1\xff\xa1k\x01", "UTF-8", "namespace[0]"),
    (b"\x94\x10\x91\xa1a\xa1\xff\x01", "UTF-8", "key"),
    (b"\x93\x40\x90\x91\x94\x31\x91\xa1a\xa1c\x91\x92\xa4user\xa1\xff", "UTF-8", "operations[0].messages[0].content"),
    (b"\x94\x30\x91\xa1a\xa1\xff\xc0", "UTF-8", "conversation_id"),
    (b"\x94\x10\x91\xa1a\xa1k" + b"\x91" * 100_000 + b"\x01", "nested too deeply", ""),
    (b"\xdd\xff\xff\xff\xff\x10", "truncated", ""),
)


@pytest.mark.parametrize(("body", "message", "field"), INVALID)
def test_the_refusal_says_what_and_where(body: bytes, message: str, field: str) -> None:
    with pytest.raises(errors.InvalidMessage) as caught:
        table.decode_request(body)
    assert message in caught.value.message
    assert caught.value.field == field


OUT_OF_BOUNDS: Final[tuple[tuple[list[Any], str, str], ...]] = (
    ([16, ["a"], "k", 1, 0], ">= 1", "ttl_us"),
    ([16, ["a"], "k", 1, -5], ">= 1", "ttl_us"),
    ([17, ["a"], "k", None, 2**63], "<= 253402300799999999", "as_of"),
    ([23, ["a"], "", "", False, 10_001], "<= 10000", "limit"),
    ([23, ["a"], "", "", False, 0], ">= 1", "limit"),
    ([49, ["a"], "c", [["user", "x"], ["user", ""]]], "length >= 1", "messages[1].content"),
    ([49, ["a"], "c", [["bot", "x"]]], "Invalid enum value 'bot'", "messages[0].role"),
    ([49, ["a"], "c", [["user", "x", None, -1]]], ">= 0", "messages[0].valid_at"),
    ([64, [], [[16, ["a"], "k", 1, -5]]], ">= 1", "operations[0].ttl_us"),
)


@pytest.mark.parametrize(("message", "bound", "field"), OUT_OF_BOUNDS)
def test_a_value_out_of_bounds_is_an_invalid_argument(message: list[Any], bound: str, field: str) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        table.decode_request(pack(message))
    assert bound in caught.value.message
    assert caught.value.field == field


def test_what_lies_behind_the_fault_is_not_built() -> None:
    """A hostile message is refused without its millions of elements becoming objects: the array is not entered."""
    body = b"\x93\x40\x90\xdd" + (3_000_000).to_bytes(4, "big") + b"\x05" * 3_000_000
    with pytest.raises(errors.InvalidMessage) as caught:
        table.decode_request(body)
    assert caught.value.field == "operations[0]"


def test_nil_metadata_is_none() -> None:
    body = pack([48, ["acme", "assistant-7"], "chat-1", None])
    assert table.decode_request(body) == conversations.ConversationCreate(NAMESPACE, "chat-1", None)
    kept = table.decode_request(table.encode(conversations.ConversationCreate(NAMESPACE, "chat-1", METADATA)))
    assert isinstance(kept, conversations.ConversationCreate)
    assert kept.metadata == METADATA


def test_a_stored_nil_is_no_deletion() -> None:
    stored_nil = state.StateVersion(2, fields.NIL, 5, None, False)
    deletion = state.StateVersion(3, None, 6, None, True)
    versions = state.StateVersions((deletion, stored_nil), 0, 1)
    assert table.decode_reply(table.encode(versions)) == versions


@pytest.mark.parametrize("row", table.REQUESTS, ids=lambda row: row.request.__name__)
def test_a_request_says_what_answers_it(row: table.RequestRow) -> None:
    text = (row.request.__doc__ or "").partition("Answered by ")[2].partition("\n\n")[0]
    said = [reply for reply in table.REPLY_TYPES if f"`{reply.__name__}`" in text]
    assert set(said) - {connection.ErrorReply} == set(row.replies)


@given(st.binary(max_size=200))
def test_random_bytes_raise_declared_errors_only(body: bytes) -> None:
    with contextlib.suppress(errors.ProtocolError, errors.InvalidArgument):
        table.decode_request(body)


@given(st.sampled_from(REQUESTS), st.data())
def test_mutated_messages_raise_declared_errors_only(message: fields.Message, data: st.DataObject) -> None:
    body = bytearray(table.encode(message))
    places = st.tuples(st.integers(0, len(body) - 1), st.integers(0, 255))
    for place, byte in data.draw(st.lists(places, min_size=1, max_size=6), label="changes"):
        body[place] = byte
    with contextlib.suppress(errors.ProtocolError, errors.InvalidArgument):
        again = table.decode_request(bytes(body))
        assert table.decode_request(table.encode(again)) == again


def test_operations_are_writes_of_the_table() -> None:
    operations = transactions.Operation.__args__
    assert {row.request for row in table.REQUESTS} >= set(operations)
    assert all(issubclass(operation, fields.Write) for operation in operations)
    replies = {reply for row in table.REQUESTS if row.request in operations for reply in row.replies}
    assert set(transactions.OperationReply.__args__) == replies | {connection.ErrorReply}
