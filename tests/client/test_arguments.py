"""What the daemon would refuse is refused before it is sent, naming the argument."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from client.fake import FakeDaemon
from recollectd.client import Client, NewMessage, arguments
from recollectd.protocol import errors, limits


class Opaque:
    """Nothing msgpack knows."""


CHAT = NewMessage("user", "hello")

REFUSED: list[tuple[str, Callable[[Client], object]]] = [
    ("key", lambda c: c.state.put("", 1)),
    ("key", lambda c: c.state.put("k" * 1_025, 1)),
    ("key", lambda c: c.state.put("ü" * 513, 1)),
    ("key", lambda c: c.state.put("\ud800", 1)),
    ("key", lambda c: c.state.get(5)),  # type: ignore[arg-type]
    ("value", lambda c: c.state.put("k", Opaque())),
    ("value", lambda c: c.state.put("k", 2**70)),
    ("value", lambda c: c.state.put("k", "\ud800")),
    ("ttl", lambda c: c.state.put("k", 1, ttl=-1)),
    ("ttl", lambda c: c.state.put("k", 1, ttl=float("nan"))),
    ("if_version", lambda c: c.state.put("k", 1, if_version=-1)),
    ("if_version", lambda c: c.state.delete("k", if_version=1.5)),  # type: ignore[arg-type]
    ("version", lambda c: c.state.get("k", version=-1)),
    ("as_of", lambda c: c.state.get("k", as_of=float("nan"))),
    ("as_of", lambda c: c.state.get("k", as_of=datetime(2026, 1, 1))),
    ("keys[1]", lambda c: c.state.get_many(["a", ""])),
    ("keys", lambda c: c.state.get_many("ab")),
    ("keys[1]", lambda c: c.state.get_values(["a", ""])),
    ("keys", lambda c: c.state.get_values("ab")),
    ("records", lambda c: c.state.put_many({})),
    ("records['a']", lambda c: c.state.put_many({"a": Opaque()})),
    ("records['']", lambda c: c.state.put_many({"": 1})),
    ("limit", lambda c: c.state.history("k", limit=0)),
    ("limit", lambda c: c.state.scan(limit=0)),
    ("limit", lambda c: c.state.scan_page(limit=10_001)),
    ("prefix", lambda c: c.state.count("p" * 1_025)),
    ("pattern", lambda c: c.state.scan(pattern="p" * 1_025)),
    ("log_id", lambda c: c.logs.append("", [1])),
    ("items", lambda c: c.logs.append("log", [])),
    ("items", lambda c: c.logs.append("log", "text")),
    ("items[1]", lambda c: c.logs.append("log", [1, Opaque()])),
    ("if_next", lambda c: c.logs.append("log", [1], if_next=-1)),
    ("since", lambda c: c.logs.read("log", since="noon")),
    ("last", lambda c: c.logs.read("log", last=0)),
    ("limit", lambda c: c.logs.read("log", limit=0)),
    ("start", lambda c: c.logs.iterate("log", -1)),
    ("count", lambda c: c.logs.pop_last("log", 0)),
    ("target_id", lambda c: c.logs.copy("log", "")),
    ("target_namespace", lambda c: c.logs.copy("log", "copy", target_namespace=())),
    ("conversation_id", lambda c: c.conversations.create("")),
    ("metadata", lambda c: c.conversations.create(metadata={1: 2})),  # type: ignore[dict-item]
    ("metadata", lambda c: c.conversations.create(metadata=[1])),  # type: ignore[arg-type]
    ("role", lambda c: c.conversations.append("c", "system", "hello")),
    ("content", lambda c: c.conversations.append("c", "user", "")),
    ("content", lambda c: c.conversations.append("c", "user", "\ud800")),
    ("content", lambda c: c.conversations.append("c", "user", b"bytes")),  # type: ignore[arg-type]
    ("message_id", lambda c: c.conversations.append("c", "user", "hello", message_id="m" * 257)),
    ("valid_at", lambda c: c.conversations.append("c", "user", "hello", valid_at=float("inf"))),
    ("messages", lambda c: c.conversations.append_many("c", [])),
    ("messages[1].role", lambda c: c.conversations.append_many("c", [CHAT, NewMessage("bot", "hello")])),
    ("messages[1].content", lambda c: c.conversations.append_many("c", [CHAT, NewMessage("user", "")])),
    ("messages[0].metadata", lambda c: c.conversations.append_many("c", [NewMessage("user", "x", None, None, {1: 2})])),  # type: ignore[dict-item]
    ("last", lambda c: c.conversations.history("c", last=0)),
    ("after", lambda c: c.conversations.history("c", after="a", before="b")),
    ("after", lambda c: c.conversations.history("c", after="a", last=3)),
    ("namespace", lambda c: c.with_namespace()),
    ("namespace[0]", lambda c: c.with_namespace("")),
    ("namespace[1]", lambda c: c.with_namespace("a", "l" * 129)),
    ("namespace", lambda c: c.with_namespace(*"abcdefghijklmnopq")),
    ("namespace", lambda c: c.configure_history(count=1, age_s=None, namespace="acme")),
    ("prefix", lambda c: c.namespaces("acme")),
    ("count", lambda c: c.configure_history(count=0, age_s=None)),
    ("age_s", lambda c: c.configure_history(count=None, age_s=-1)),
    ("kinds", lambda c: c.watch(kinds=["stat"])),
    ("position", lambda c: c.watch(position=-1)),
    ("attempts", lambda c: c.transact(lambda transaction: None, attempts=0)),
    ("timeout", lambda c: c.with_options(timeout=0)),
    ("durability", lambda c: c.with_options(durability="soon")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("field", "call"), REFUSED)
def test_bad_arguments_are_refused_by_name_and_not_sent(
    daemon: FakeDaemon, client: Client, field: str, call: Callable[[Client], object]
) -> None:
    with pytest.raises(errors.InvalidArgument) as raised:
        call(client)
    assert raised.value.field == field
    assert daemon.received == []


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("namespace", {"namespace": "acme"}),
        ("timeout", {"timeout": float("nan")}),
        ("timeout", {"timeout": True}),
        ("durability", {"durability": "never"}),
        ("connections_max", {"connections_max": 0}),
        ("name", {"name": "n" * 129}),
        ("url", {"url": "http://localhost"}),
    ],
)
def test_bad_options_are_refused_by_name(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidArgument) as raised:
        Client(**{"url": "unix:///nowhere", **options})
    assert raised.value.field == field


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.state.put("k", b"x" * limits.VALUE_BYTES_MAX),
        lambda c: c.conversations.append("c", "user", "x" * (limits.CONTENT_BYTES_MAX + 1)),
        lambda c: c.conversations.append("c", "user", "ü" * (limits.CONTENT_BYTES_MAX // 2 + 1)),
        lambda c: c.conversations.create(metadata={"x": "x" * limits.METADATA_BYTES_MAX}),
        lambda c: c.logs.append("log", [b"x" * 8_000_000] * 5),
    ],
)
def test_what_is_too_large_is_refused_and_not_sent(
    daemon: FakeDaemon, client: Client, call: Callable[[Client], object]
) -> None:
    with pytest.raises(errors.TooLarge):
        call(client)
    assert daemon.received == []


@pytest.mark.parametrize(
    ("value", "comes_back"),
    [
        (None, None),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        ((1, 2.5, "ü", True), [1, 2.5, "ü", True]),
        ({"nested": {"list": [{}]}}, {"nested": {"list": [{}]}}),
        ({1: "by number"}, {1: "by number"}),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)),
    ],
)
def test_values_come_back_as_msgpack_has_them(client: Client, value: object, comes_back: object) -> None:
    client.state.put("k", value)
    record = client.state.get("k")
    assert record is not None
    assert record.value == comes_back
    assert type(record.value) is type(comes_back)


def test_names_of_the_longest_length_pass() -> None:
    assert arguments.name("k" * 1_024, "key")
    assert arguments.name("ü" * 512, "key")
    assert arguments.label_tuple(["l" * 128] * 16)
