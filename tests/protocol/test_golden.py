"""The bytes of every message and frame header, held against a file that may only grow.

`pytest tests/protocol/test_golden.py --rewrite` writes the file anew; a changed line in its diff is a broken client.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
from msgspec import Struct

from recollectd.protocol import frames, table
from support.message_examples import REPLIES, REQUESTS

GOLDEN: Final = Path(__file__).parent / "golden.json"
HEADER: Final = frames.RequestHeader(0x01020304, 0x1112131415161718, 0x2122232425262728, 0x31323334, 0x01, 0x5152)


def encoded() -> dict[str, dict[str, str]]:
    return {
        "frames": {
            "preamble": frames.PREAMBLE.hex(),
            "request": frames.pack_request(HEADER, b"body").hex(),
            "reply": frames.pack_reply(0x01020304, 0x1112131415161718, b"body").hex(),
        },
        "requests": {type(message).__name__: table.encode(message).hex() for message in REQUESTS},
        "replies": {type(message).__name__: table.encode(message).hex() for message in REPLIES},
    }


@pytest.fixture
def golden(rewrite: bool) -> dict[str, dict[str, str]]:
    if rewrite:
        GOLDEN.write_text(json.dumps(encoded(), indent=1) + "\n")
    held: dict[str, dict[str, str]] = json.loads(GOLDEN.read_text())
    return held


def test_bytes_are_the_golden_ones(golden: dict[str, dict[str, str]]) -> None:
    assert encoded() == golden


def test_golden_bytes_decode_to_the_examples(golden: dict[str, dict[str, str]]) -> None:
    requests = [table.decode_request(bytes.fromhex(line)) for line in golden["requests"].values()]
    replies = [table.decode_reply(bytes.fromhex(line)) for line in golden["replies"].values()]
    assert requests == list(REQUESTS)
    assert replies == list(REPLIES)


def test_golden_frames_unpack(golden: dict[str, dict[str, str]]) -> None:
    header, body = frames.unpack_request(bytes.fromhex(golden["frames"]["request"]))
    assert (header, bytes(body)) == (HEADER, b"body")
    request_id, position, body = frames.unpack_reply(bytes.fromhex(golden["frames"]["reply"]))
    assert (request_id, position, bytes(body)) == (HEADER.request_id, HEADER.number, b"body")


def test_every_message_has_one_example_in_the_order_of_the_table() -> None:
    assert [type(message) for message in REQUESTS] == list(table.REQUEST_TYPES)
    assert sorted(type(message).__name__ for message in REPLIES) == sorted(
        message.__name__ for message in table.REPLY_TYPES
    )


def test_examples_set_every_field() -> None:
    """A field left at its default could be moved or dropped without its golden bytes saying so."""
    left: dict[str, set[str]] = {}
    for structure in _structures_in((*REQUESTS, *REPLIES)):
        name = type(structure).__name__
        left[name] = left.get(name, set(structure.__struct_fields__)) & set(_left_at_default(structure))
    assert {name: fields for name, fields in left.items() if fields} == {}


def _structures_in(value: object) -> Iterator[Struct]:
    if isinstance(value, tuple):
        for item in value:
            yield from _structures_in(item)
    if isinstance(value, Struct):
        yield value
        for name in value.__struct_fields__:
            yield from _structures_in(getattr(value, name))


def _left_at_default(structure: Struct) -> Iterator[str]:
    for field in msgspec.structs.fields(structure):
        if not field.required and getattr(structure, field.name) == field.default:
            yield field.name
