"""Taking the vectors of a dropped space from beside messages: the steps are `memories.sweeps.StripVectors`'s."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Final, NamedTuple

from msgspec import Raw, structs

from recollectd.memory.kind import Draft, Fetch, Rows, Stale, View
from recollectd.memory.memories.heads import DroppedSpaceHead, pack_vectors
from recollectd.memory.message_vectors import rows
from recollectd.memory.message_vectors.events import (
    NO_VECTORS,
    MessageVectorsHead,
    MessageVectorsStripped,
    decode_head,
)
from recollectd.storage.keyspace import Family, after_prefix, pack_u64, row_number

_STEP: Final = 128
_CONVERSATIONS: Final = 64


class Stripped(NamedTuple):
    """What is left beside messages of a conversation, by position; as of which of its commits."""

    incarnation: int
    rewritten: int
    left: dict[int, Raw]


def next_stripped(
    view: View, prefix: bytes, dropped: DroppedSpaceHead
) -> Generator[Fetch, Rows, tuple[dict[bytes, Stripped], bytes]]:
    """Look at the next messages; return what is left beside them, and the place to go on from, empty behind the last.

    prefix: of the heads of the namespace; a place is the prefix itself, or a head's key and a position.
    """
    place = dropped.place
    at, position = (place[:-8], row_number(place)) if len(place) > len(prefix) else (prefix, 0)
    walked = view.walk(Family.HEADS, at, after_prefix(prefix), keys_max=_CONVERSATIONS)
    found: dict[bytes, Stripped] = {}
    room = _STEP
    for key, row in walked:
        head = decode_head(row)
        first = max(head.first, position) if key == at else head.first
        to = min(head.next, first + room)
        left = yield from _left(key, head, range(first, max(first, to)), dropped)
        room -= max(0, to - first)
        if left:
            found[key] = Stripped(head.incarnation, head.rewritten, left)
        if to < head.next or room <= 0:
            return found, key + pack_u64(max(first, to))
    return found, walked[-1][0] + b"\0" + pack_u64(0) if len(walked) == _CONVERSATIONS else b""


def _left(
    key: bytes, head: MessageVectorsHead, positions: range, dropped: DroppedSpaceHead
) -> Generator[Fetch, Rows, dict[int, Raw]]:
    left: dict[int, Raw] = {}
    for position, stored in (yield from rows.fetch(key, head, positions)).items():
        vector = stored.get(dropped.name)
        if vector is not None and vector.incarnation == dropped.incarnation:
            del stored[dropped.name]
            left[position] = pack_vectors(stored) if stored else NO_VECTORS
    return left


def strip(draft: Draft, conversations: Mapping[bytes, Stripped]) -> None:
    """Write what is left. Raises Stale where other vectors were written there since."""
    for key, (incarnation, rewritten, left) in conversations.items():
        head: MessageVectorsHead | None = draft.get(key)
        if head is None or head.incarnation != incarnation or head.rewritten != rewritten:
            raise Stale
        stripped = structs.replace(head, rewritten=draft.seq)
        draft.put(key, stripped)
        draft.emit(MessageVectorsStripped(key, stripped, tuple(sorted(left.items()))))
