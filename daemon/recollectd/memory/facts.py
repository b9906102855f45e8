"""What the sequencer knows of the rows it decides by.

What is sequenced but not yet applied comes first, then rows known from applied state, the least recently used of which
goes when there are too many. One row goes for each that comes: nothing is ever thrown away in bulk, which would hold up
everybody.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final

import msgspec

from recollectd._native.facts import FactCache
from recollectd.memory.commits import KINDS
from recollectd.memory.conversations import ids
from recollectd.memory.kind import Fact, Fetch, Rows
from recollectd.storage.keyspace import INDEX_MESSAGE_ID, Family

_DECODERS: Final = {int(kind.kind): msgspec.msgpack.Decoder(kind.head).decode for kind in KINDS}


def load(keys: Sequence[bytes]) -> Generator[Fetch, Rows, dict[bytes, Fact | None]]:
    """Fetch and decode facts from applied state."""
    heads = [key for key in keys if not key.startswith(INDEX_MESSAGE_ID)]
    facts: dict[bytes, Fact | None] = {}
    if heads:
        rows = yield Fetch(Family.HEADS, heads)
        for key, row in zip(heads, rows, strict=True):
            facts[key] = None if row is None else _DECODERS[key[0]](row)
    conversations: dict[tuple[bytes, int], list[tuple[bytes, str]]] = {}
    for key in keys:
        if key.startswith(INDEX_MESSAGE_ID):
            record, incarnation, message_id = ids.split_fact_key(key)
            conversations.setdefault((record, incarnation), []).append((key, message_id))
    for (record, incarnation), asked in conversations.items():
        places = yield from ids.find(record, incarnation, [message_id for _, message_id in asked])
        facts.update(zip([key for key, _ in asked], places, strict=True))
    return facts


__all__ = ["FactCache", "load"]
