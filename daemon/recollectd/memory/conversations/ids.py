"""Message ids: where to find a message by its id.

An id that the caller gave has a row in the index. An id that the daemon gave begins with the message's position, so
that it needs none: `0000000012-9f3a7c21be04`.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from typing import Final, NamedTuple

from recollectd.memory.conversations.events import decode_entry
from recollectd.memory.kind import Fetch, Rows
from recollectd.storage.keyspace import (
    INDEX_MESSAGE_ID,
    Family,
    message_id_prefix,
    path,
    row_key,
    unpack_number,
)

_GIVEN_BY_DAEMON: Final = re.compile(r"(\d{10,20})-[0-9a-f]{12}\Z")


def daemon_id(position: int, random: str) -> str:
    """Return an id for the message at a position; random is 12 hexadecimal digits."""
    return f"{position:010d}-{random}"


def fact_key(key: bytes, incarnation: int, message_id: str) -> bytes:
    """Return the index key of a message id: also its name among the sequencer's facts."""
    return message_id_prefix(path(key), incarnation) + message_id.encode()


class Place(NamedTuple):
    """Where a message lies and when it was stored: the index row's two u64."""

    position: int
    stored_at: int


def find(key: bytes, incarnation: int, message_ids: Sequence[str]) -> Generator[Fetch, Rows, list[Place | None]]:
    """Return the places of messages by id in one conversation, None where there is no such message."""
    below = path(key)
    prefix = message_id_prefix(below, incarnation)
    rows = yield Fetch(Family.INDEX, [prefix + message_id.encode() for message_id in message_ids])
    found = [None if row is None else Place(unpack_number(row[:8]), unpack_number(row[8:])) for row in rows]
    guesses: dict[int, int] = {}
    for index, message_id in enumerate(message_ids):
        given = _GIVEN_BY_DAEMON.match(message_id)
        if found[index] is None and given and int(given[1]) < 2**63:
            guesses[index] = int(given[1])
    if guesses:
        entries = yield Fetch(Family.ENTRIES, [row_key(below, position) for position in guesses.values()])
        for (index, position), row in zip(guesses.items(), entries, strict=True):
            entry = None if row is None else decode_entry(row)
            if entry is not None and entry.message_id == message_ids[index]:
                found[index] = Place(position, entry.stored_at)
    return found


def split_fact_key(fact: bytes) -> tuple[bytes, int, str]:
    """Return record key, incarnation and message id of an index key."""
    assert fact.startswith(INDEX_MESSAGE_ID)
    at = 2
    while fact[at]:
        at += 1 + fact[at]
    namespace_end = at + 1
    end = namespace_end
    while fact[end] or fact[end + 1] == 0xFF:
        end += 2 if not fact[end] else 1
    key = fact[1:namespace_end] + fact[namespace_end:end].replace(b"\0\xff", b"\0")
    return key, int.from_bytes(fact[end + 1 : end + 9], "big"), fact[end + 9 :].decode()
