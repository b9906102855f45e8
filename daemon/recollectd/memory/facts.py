"""What the sequencer knows of the rows it decides by.

Two layers, the upper one first: what is sequenced but not yet applied (the overlay), and rows known from applied state,
the least recently used of which goes when there are too many. One row goes for each that comes: nothing is ever thrown
away in bulk, which would hold up everybody.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final

import msgspec

from recollectd.memory.commits import KINDS
from recollectd.memory.conversations import ids
from recollectd.memory.kind import Fact, Fetch, Rows
from recollectd.storage.keyspace import INDEX_MESSAGE_ID, Family

_MISSING: Final = object()
_DECODERS: Final = {int(kind.kind): msgspec.msgpack.Decoder(kind.head).decode for kind in KINDS}


class FactCache:
    """Facts by key. A fact is a decoded row, or None for a row known to be absent.

    overlay: what is on its way, with the commit that brings it; known: from applied state, the last used at the end.
    The native way of writes looks there itself.
    """

    def __init__(self, count_max: int) -> None:
        self._count_max = max(1, count_max)
        self.known: OrderedDict[bytes, Fact | None] = OrderedDict()
        self.overlay: dict[bytes, tuple[int, Fact | None]] = {}
        self._pins: dict[bytes, int] = {}
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self.known)

    @property
    def pending_count(self) -> int:
        """How many rows are sequenced and not yet applied."""
        return len(self.overlay)

    def knows(self, key: bytes) -> bool:
        """Return whether the row's state is at hand."""
        return key in self.overlay or key in self.known

    def get(self, key: bytes) -> Any:
        """Return the row at hand; asking for one that is not is a defect."""
        pending = self.overlay.get(key)
        if pending is not None:
            return pending[1]
        return self.known[key]

    def gather(self, keys: Sequence[bytes]) -> dict[bytes, Fact | None] | None:
        """Return the rows of all keys, or None when one is not at hand. They count as used."""
        known, overlay = self.known, self.overlay
        gathered: dict[bytes, Fact | None] = {}
        for key in keys:
            pending = overlay.get(key)
            if pending is not None:
                gathered[key] = pending[1]
                continue
            fact = known.get(key, _MISSING)
            if fact is _MISSING:
                self.misses += 1
                return None
            known.move_to_end(key)
            gathered[key] = fact
        self.hits += 1
        return gathered

    def pending(self, key: bytes, fact: Fact | None, seq: int) -> None:
        """Say what a row will be once the commit `seq` is applied."""
        self.overlay[key] = (seq, fact)

    def applied(self, keys: Iterable[bytes], seq: int) -> None:
        """The commit `seq` is applied: rows that no later commit changes move from the overlay to the known ones."""
        for key in keys:
            held = self.overlay.get(key)
            if held is not None and held[0] == seq:
                del self.overlay[key]
                if key.startswith(INDEX_MESSAGE_ID):  # ids are hardly ever asked for again
                    self.known.pop(key, None)
                else:
                    self.keep(key, held[1])

    def pending_seq(self, keys: Sequence[bytes]) -> int:
        """Return the last commit on its way that changes one of the rows; 0 if there is none."""
        return max((self.overlay[key][0] for key in keys if key in self.overlay), default=0)

    def drop_pending(self) -> None:
        """Take back everything sequenced and not applied.

        What was known of those rows goes too: it may be older than commits that were applied while later ones,
        taken back now, hid them.
        """
        for key in self.overlay:
            self.known.pop(key, None)
        self.overlay.clear()

    def learn(self, facts: dict[bytes, Fact | None]) -> None:
        """Take up rows fetched from applied state. What is already known is newer: it stays."""
        for key, fact in facts.items():
            if not self.knows(key):
                self.keep(key, fact)

    def pin(self, keys: Sequence[bytes]) -> None:
        """Keep rows, once known, until they are unpinned: a write waits for them."""
        for key in keys:
            self._pins[key] = self._pins.get(key, 0) + 1

    def unpin(self, keys: Sequence[bytes]) -> None:
        """Undo one pin of each."""
        for key in keys:
            count = self._pins[key] - 1
            if count:
                self._pins[key] = count
            else:
                del self._pins[key]

    def keep(self, key: bytes, fact: Fact | None) -> None:
        """Take up a row as it is in applied state; the least recently used one may go for it."""
        known = self.known
        known[key] = fact
        known.move_to_end(key)
        self.shrink()

    def shrink(self) -> None:
        """Let the least recently used rows go, beyond the bound."""
        known = self.known
        excess = len(known) - self._count_max
        while excess > 0:
            oldest, fact = known.popitem(last=False)
            excess -= 1
            if oldest in self._pins:
                known[oldest] = fact


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
