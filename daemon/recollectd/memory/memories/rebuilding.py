"""Indexing a namespace anew, in steps: each is a commit that names what the view is to read again."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, Protocol

from msgspec import structs

from recollectd.memory.conversations.events import decode_head as decode_conversation
from recollectd.memory.kind import Draft, Fetch, Rows, Stale, View
from recollectd.memory.memories.heads import decode_head as decode_memory
from recollectd.memory.message_vectors import rows as vectors
from recollectd.memory.settings.search import MEMORIES, MESSAGES, SearchHead, SearchRebuilt, decode_head
from recollectd.memory.state.sweeps import Sweep
from recollectd.protocol.messages.connection import Done
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import (
    Family,
    after_prefix,
    message_vectors_key,
    messages_key,
    pack_u64,
    row_number,
    split_messages_key,
)

_STEP: Final = 256
_CONVERSATIONS: Final = 64

Noted = list[bytes]


class Waiting(Protocol):
    """Who knows what there is to do."""

    def pending(self) -> bytes | None:
        """Return a scope of which something is being indexed anew, None for none."""

    def catch_up(self) -> None:
        """Return once the view knows what was noted before: no step is made before the one before has reached it."""


class Rebuild(Sweep):
    """One step of indexing a namespace anew."""

    __slots__ = ("_after", "_noted", "_revision", "_waiting")

    def __init__(self, waiting: Waiting) -> None:
        super().__init__()
        self._waiting = waiting
        self._noted: Noted = []
        self._revision = 0
        self._after = SearchHead()

    def prepare(self, view: View) -> Generator[Fetch, Rows, None]:
        """Find what comes next."""
        self._keys = []
        scope = self._waiting.pending()
        if scope is None:
            return
        self._waiting.catch_up()
        key = bytes((Kind.SEARCH_SETTINGS,)) + scope
        row = (yield Fetch(Family.HEADS, (key,)))[0]
        head = None if row is None else decode_head(row)
        if head is None or not head.stage:
            return
        step = _memories if head.stage == MEMORIES else _messages
        self._noted, place = step(view, scope, head.place)
        if head.stage == MESSAGES and head.vectors_due:
            self._noted += yield from _vectors(self._noted)
        stage = head.stage
        if not place:
            stage = MESSAGES if stage == MEMORIES and head.indexed else ""
        indexed = head.indexed if stage else head.messages
        self._revision = head.revision
        due = head.vectors_due and bool(stage)
        self._after = structs.replace(head, stage=stage, place=place, indexed=indexed, vectors_due=due)
        self._keys = [key]

    def write(self, draft: Draft) -> Done:
        """Say what the view is to read again."""
        head: SearchHead | None = draft.get(self._keys[0])
        if head is None or head.revision != self._revision:
            raise Stale
        after = structs.replace(self._after, revision=draft.seq)
        draft.put(self._keys[0], after)
        draft.emit(SearchRebuilt(self._keys[0], after, tuple(self._noted)))
        return Done()


def _memories(view: View, scope: bytes, place: bytes) -> tuple[Noted, bytes]:
    """Return the next memories, and the place behind them; empty behind the last."""
    prefix = bytes((Kind.MEMORY,)) + scope
    rows = view.walk(Family.HEADS, place + b"\0" if place else prefix, after_prefix(prefix), keys_max=_STEP)
    noted = [key for key, row in rows if not decode_memory(row).deleted]
    return noted, rows[-1][0] if len(rows) == _STEP else b""


def _messages(view: View, scope: bytes, place: bytes) -> tuple[Noted, bytes]:
    """Return the next messages, and the place behind them: the conversation's key and a position there."""
    prefix = bytes((Kind.CONVERSATION,)) + scope
    start = place[:-8] or prefix
    rows = view.walk(Family.HEADS, start, after_prefix(prefix), keys_max=_CONVERSATIONS)
    noted: Noted = []
    room = _STEP
    for key, row in rows:
        head = decode_conversation(row)
        first = max(head.first, row_number(place)) if place and key == start else head.first
        to = min(head.next, first + room)
        if first < to:
            noted.append(messages_key(key, first, to))
            room -= to - first
        if to < head.next or not room:
            return noted, key + pack_u64(to)
    return noted, rows[-1][0] + pack_u64(head.next) if len(rows) == _CONVERSATIONS else b""


def _vectors(noted_messages: Noted) -> Generator[Fetch, Rows, Noted]:
    """Return what is noted of the vectors of noted messages."""
    spans = map(split_messages_key, noted_messages)
    return (yield from vectors.noted_within((message_vectors_key(key), range(first, to)) for key, first, to in spans))
