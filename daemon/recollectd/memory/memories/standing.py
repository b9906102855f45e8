"""Filters that searches ask for again and again: which memories of a namespace each allows, kept as memories change.

To know it the first time, all memories of the namespace are read. From then on what a commit changes is noted with
every filter of its namespace (`note`), and the next search evaluates those memories alone. What a filter says depends
on the memory and nothing else, so nothing else can change it; whether a memory is forgotten or has expired is asked of
every result.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from typing import Final

from recollectd.memory.kind import Fetch, Rows, View
from recollectd.memory.memories.fetching import found_among
from recollectd.memory.memories.filters import Predicate
from recollectd.memory.memories.heads import decode_head
from recollectd.storage.keyspace import Family, after_prefix, namespace_end
from recollectd.storage.vectors.selection import Selection

# An id in a set, and the changes noted for it.
_ID_BYTES: Final = 150
_CHANGED_MAX: Final = 20_000
_STEP: Final = 512


class Allowed:
    """What a filter allows as of a moment. record_ids: in the namespace; selection: the same for the vector view."""

    __slots__ = ("record_ids", "selection")

    def __init__(self, record_ids: frozenset[bytes]) -> None:
        self.record_ids = record_ids
        self.selection = Selection(record_ids)


class Standing:
    """One filter of one namespace. prefix: of the keys of its memories; changed: by commits it has not seen to."""

    __slots__ = ("allowed", "changed", "predicate", "prefix")

    def __init__(self, prefix: bytes, predicate: Predicate) -> None:
        self.prefix = prefix
        self.predicate = predicate
        self.allowed = Allowed(frozenset())
        self.changed: dict[bytes, object] = {}

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes."""
        return _ID_BYTES * (len(self.allowed.record_ids) + len(self.changed))


class StandingFilters:
    """Filters by namespace and text, the longest unused go first. bytes_max: 0 keeps none. For any thread."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._lock = threading.Lock()
        self._kept: dict[tuple[bytes, str], Standing] = {}
        self._making: list[Standing] = []

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def memory_bytes(self) -> int:
        """About how much memory they take."""
        return sum(each.weight for each in list(self._kept.values()))

    def note(self, keys: Iterable[bytes]) -> None:
        """Note that a commit has changed memories. Told before a search that must see it begins."""
        if not (self._kept or self._making):
            return
        with self._lock:
            for standing in (*self._kept.values(), *self._making):
                for key in keys:
                    if key.startswith(standing.prefix):
                        standing.changed[key] = object()
            for name in [name for name, each in self._kept.items() if len(each.changed) > _CHANGED_MAX]:
                del self._kept[name]

    def clear(self) -> None:
        """Drop all: they hold files of the vector view open."""
        with self._lock:
            self._kept.clear()

    def find(self, prefix: bytes, text: str, view: View) -> Generator[Fetch, Rows, Allowed | None]:
        """Return what a filter allows, brought up to date, or None where it is not kept."""
        with self._lock:
            standing = self._kept.pop((prefix, text), None)
            if standing is None:
                return None
            self._kept[prefix, text] = standing
            changed = dict(standing.changed)
        return (yield from self._settle(standing, changed, view))

    def make(self, prefix: bytes, text: str, predicate: Predicate, view: View) -> Generator[Fetch, Rows, Allowed]:
        """Ask the filter of all memories of a namespace, and keep what it says."""
        standing = Standing(prefix, predicate)
        with self._lock:
            self._making.append(standing)
        whole = False
        try:
            standing.allowed = Allowed(frozenset((yield from _ask_all(standing, view))))
            whole = True
        finally:
            with self._lock:
                self._making = [each for each in self._making if each is not standing]
                changed = dict(standing.changed)
                if whole:
                    self._keep((prefix, text), standing)
        return (yield from self._settle(standing, changed, view))

    def _keep(self, name: tuple[bytes, str], standing: Standing) -> None:
        self._kept.pop(name, None)
        if standing.weight > self.bytes_max:
            return
        weights = {other: each.weight for other, each in self._kept.items()}
        for other in list(self._kept):
            if standing.weight + sum(weights.values()) <= self.bytes_max:
                break
            del self._kept[other], weights[other]
        self._kept[name] = standing

    def _settle(self, standing: Standing, changed: dict[bytes, object], view: View) -> Generator[Fetch, Rows, Allowed]:
        """Evaluate what commits changed; what they change again meanwhile stays noted."""
        if not changed:
            return standing.allowed
        allows = yield from _ask(standing.predicate, list(changed), view)
        with self._lock:
            before = standing.allowed.record_ids
            ids = {key[namespace_end(key) :] for key in changed}
            after = (before - ids) | allows
            # Another search may know later changes: only those noted as they were are settled.
            settled = {key for key, when in changed.items() if standing.changed.get(key) is when}
            if len(settled) == len(changed):
                standing.allowed = allowed = Allowed(after) if after != before else standing.allowed
                for key in settled:
                    del standing.changed[key]
                return allowed
        return Allowed(after)


def _ask_all(standing: Standing, view: View) -> Generator[Fetch, Rows, set[bytes]]:
    start, stop = standing.prefix, after_prefix(standing.prefix)
    allowed: set[bytes] = set()
    while step := view.walk(Family.HEADS, start, stop, keys_max=_STEP):
        start = step[-1][0] + b"\0"
        keys = [key for key, row in step if not decode_head(row).deleted]
        allowed |= yield from _ask(standing.predicate, keys, view)
    return allowed


def _ask(predicate: Predicate, keys: list[bytes], view: View) -> Generator[Fetch, Rows, set[bytes]]:
    """Return the ids of those memories that are there and that a filter allows."""
    allowed: set[bytes] = set()
    at = 0
    while at < len(keys):
        found = yield from found_among(keys[at : at + _STEP], view)
        allowed.update(
            each.key[namespace_end(each.key) :] for each in found if each is not None and predicate(each.subject)
        )
        at += len(found)
    return allowed
