"""How channel values are kept: pieces in logs, and references to them in checkpoints; what a process knows of both.

A reference is the head of the value's bytes and runs of positions in logs. The pieces of a channel's values lie in the
channel's log, each once; a conversation that grows by a message adds one item to its log, and its checkpoint refers to
one run, as the one before did.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from recollectd.adapters.langgraph.pieces import LARGE_BYTES, cut, cut_tail, head_bytes

INLINE_BYTES_MAX: Final = 48
"""A value up to this size is its own reference."""


class Reference(Struct, array_like=True, frozen=True):
    """Where a value's bytes lie: `head`, then the items of the runs, each (channel whose log it is, first, count).

    kind: the serializer's name for what the bytes are. snapshot: it ends the walk of a delta channel's history.
    """

    kind: str
    head: bytes
    runs: tuple[tuple[str, int, int], ...] = ()
    snapshot: bool = False


class Held(Struct, frozen=True):
    """A value whose bytes are known: where they lie, and the sizes of the items they lie in."""

    reference: Reference
    data: bytes
    sizes: tuple[int, ...]

    def items(self) -> Iterator[tuple[tuple[str, int], bytes]]:
        """Yield each item with its place."""
        start = len(self.reference.head)
        places = ((channel, first + n) for channel, first, count in self.reference.runs for n in range(count))
        for place, size in zip(places, self.sizes, strict=True):
            yield place, self.data[start : start + size]
            start += size


class Known:
    """What is known of the values of one thread's namespace: the last value of each channel, and where pieces lie.

    following: the next position of each channel's log. places: of pieces, by their digests. Planning a checkpoint
    changes nothing here; what a plan adds is taken over by `settle` after its commit.
    """

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.following: dict[str, int] = {}
        self.places: dict[bytes, tuple[str, int]] = {}
        self._indexed: dict[str, Reference] = {}

    @property
    def bytes_held(self) -> int:
        """About how much memory this takes."""
        return sum(len(held.data) for held in self.held.values()) + 200 * len(self.places)

    def index(self) -> None:
        """Make every item of the values held findable by its content."""
        for channel, held in list(self.held.items()):
            if self._indexed.get(channel) is not held.reference:
                for place, item in held.items():
                    self.places.setdefault(_digest(item), place)
                self._indexed[channel] = held.reference

    def settle(self, plan: Plan) -> None:
        """Take over what a plan has stored."""
        for channel, items in plan.new_items.items():
            self.following[channel] = plan.first[channel] + len(items)
        self.held.update(plan.held)


class Plan:
    """The references of one checkpoint, and what must be appended to which log so that they hold."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._new: dict[bytes, tuple[str, int]] = {}
        self.first: dict[str, int] = {}
        self.new_items: dict[str, list[bytes]] = {}
        self.held: dict[str, Held] = {}

    def refer(self, channel: str, kind: str, data: bytes, *, snapshot: bool = False) -> Reference:
        """Return the reference for a channel's value."""
        if len(data) <= INLINE_BYTES_MAX:
            return Reference(kind, data, (), snapshot)
        old = self._known.held.get(channel)
        if old is not None and old.reference.kind == kind:
            if old.data == data and old.reference.snapshot == snapshot:
                return old.reference
            grown = self._grown(channel, old, kind, data, snapshot)
            if grown is not None:
                return grown
        self._known.index()
        head, pieces = cut(kind, data)
        places = [self._place(channel, piece) for piece in pieces]
        return self._hold(channel, Reference(kind, head, _runs(places), snapshot), data, [len(p) for p in pieces])

    def _grown(self, channel: str, old: Held, kind: str, data: bytes, snapshot: bool) -> Reference | None:
        """Return the reference of a value that is the old one and something appended; None if it is not."""
        head, old_head = data[: head_bytes(data)] if kind == "msgpack" else b"", old.reference.head
        if not head or not old_head or not old.reference.runs:
            return None
        body, tail_start = old.data[len(old_head) :], len(head) + len(old.data) - len(old_head)
        if data[len(head) : tail_start] != body:
            return None
        tail = cut_tail(head, old_head, data[tail_start:])
        if tail is None:
            return None
        # A run in a reference costs more than a few bytes stored again, and every later checkpoint would repeat it.
        places = [self._place(channel, piece, anew=len(piece) < LARGE_BYTES) for piece in tail]
        runs = _joined(old.reference.runs, _runs(places))
        sizes = [*old.sizes, *map(len, tail)]
        return self._hold(channel, Reference(kind, head, runs, snapshot), data, sizes)

    def _hold(self, channel: str, reference: Reference, data: bytes, sizes: list[int]) -> Reference:
        self.held[channel] = Held(reference, data, tuple(sizes))
        return reference

    def _place(self, channel: str, piece: bytes, *, anew: bool = False) -> tuple[str, int]:
        digest = _digest(piece)
        place = self._known.places.get(digest) or self._new.get(digest)
        if place is None or anew:
            first = self.first.setdefault(channel, self._known.following.get(channel, 0))
            items = self.new_items.setdefault(channel, [])
            place = self._new[digest] = (channel, first + len(items))
            items.append(piece)
        return place


def _digest(piece: bytes) -> bytes:
    return blake2b(piece, digest_size=16).digest()


def _runs(places: list[tuple[str, int]]) -> tuple[tuple[str, int, int], ...]:
    return _joined((), ((channel, position, 1) for channel, position in places))


def _joined(
    runs: tuple[tuple[str, int, int], ...], more: Iterator[tuple[str, int, int]] | tuple[tuple[str, int, int], ...]
) -> tuple[tuple[str, int, int], ...]:
    """Return runs and more of them, those that touch made one."""
    joined = list(runs)
    for channel, first, count in more:
        if joined and joined[-1][0] == channel and joined[-1][1] + joined[-1][2] == first:
            joined[-1] = (channel, joined[-1][1], joined[-1][2] + count)
        else:
            joined.append((channel, first, count))
    return tuple(joined)
