"""Memories that searches have read, decoded, in bounded memory: the next search need not fetch and decode them again.

Whoever reads memories to keep them here opens a `learning` before the first row is fetched. What a commit changes
meanwhile is noted in every learning that is open, and is not kept; what is kept already goes. Both happen before a
search that must see the commit begins (`MemoryViews.catch_up`), so what is found here is never older than that.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from recollectd._native.visible_records import VisibleRecords
from recollectd.memory.memories.fetching import Found
from recollectd.memory.memories.heads import MemoryHead, SpaceHead

# Of head, body, key and their places in tables; beside it the text, and metadata as they are and decoded.
_MEMORY_BYTES: Final = 1_700
_METADATA_FACTOR: Final = 6
_SPACES_MAX: Final = 10_000


class KnownMemories:
    """Found memories by record key, the longest known go first. bytes_max: 0 keeps nothing.

    visible: of many more, in as many bytes again at most, that they are there and not hidden: whoever asks for ids
    alone need not know more. Threads: any may call anything.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.visible = VisibleRecords(bytes_max, secrets.randbits(64))
        self.memory_bytes = 0
        self.hits = 0
        self.misses = 0
        self._lock = threading.Lock()
        self._found: dict[bytes, Found] = {}
        self._learnings: list[set[bytes]] = []
        self.get = self._found.get

    def __len__(self) -> int:
        return len(self._found)

    def count(self, hits: int, misses: int) -> None:
        """Note how many memories were found here, and how many were not."""
        with self._lock:
            self.hits += hits
            self.misses += misses

    @contextmanager
    def learning(self) -> Iterator[list[Found]]:
        """Give a list to put memories into that are read from now on; they are kept at the end."""
        learnt: list[Found] = []
        with self._watching() as changed:
            yield learnt
            with self._lock:
                for found in learnt:
                    if found.key not in changed:
                        self._keep(found)

    @contextmanager
    def seeing(self) -> Iterator[list[tuple[bytes, MemoryHead]]]:
        """Give a list to put keys and heads into that are read from now on: those in sight are noted at the end."""
        seen: list[tuple[bytes, MemoryHead]] = []
        with self._watching() as changed:
            yield seen
            with self._lock:
                for key, head in seen:
                    if key not in changed:
                        self._see(key, head)

    @contextmanager
    def _watching(self) -> Iterator[set[bytes]]:
        """Give a set that the keys are put into that change."""
        changed: set[bytes] = set()
        with self._lock:
            self._learnings.append(changed)
        try:
            yield changed
        finally:
            with self._lock:
                self._learnings = [each for each in self._learnings if each is not changed]

    def forget(self, keys: Iterable[bytes]) -> None:
        """Drop memories that a commit has changed."""
        with self._lock:
            for key in keys:
                found = self._found.pop(key, None)
                if found is not None:
                    self.memory_bytes -= weight(found)
                self.visible.forget(key)
                for changed in self._learnings:
                    changed.add(key)

    def see(self, found: Iterable[Found]) -> None:
        """Note of memories just read, by who tells of changes alone, which are in sight: searches find what is new."""
        with self._lock:
            for each in found:
                self._see(each.key, each.subject.head)

    def clear(self) -> None:
        """Drop all."""
        with self._lock:
            self._found.clear()
            self.visible.clear()
            self.memory_bytes = 0

    def _see(self, key: bytes, head: MemoryHead) -> None:
        if not head.hidden:
            self.visible.keep(key, head.expires_at)

    def _keep(self, found: Found) -> None:
        self._see(found.key, found.subject.head)
        needed = weight(found)
        if found.key in self._found or needed > self.bytes_max:
            return
        while self.memory_bytes + needed > self.bytes_max:
            self.memory_bytes -= weight(self._found.pop(next(iter(self._found))))
        self._found[found.key] = found
        self.memory_bytes += needed


class KnownSpaces:
    """Vector spaces by scope and name, or an alias, as searches have read them. Forgotten together: they rarely change.

    changes: how often they were; what was read since is kept.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._lock = threading.Lock()
        self._known: dict[tuple[bytes, str], tuple[str, SpaceHead]] = {}
        self.get = self._known.get

    def keep(self, place: tuple[bytes, str], space: tuple[str, SpaceHead], since: int) -> None:
        """Keep what was read, unless some space has changed since then."""
        with self._lock:
            if self.changes == since:
                if len(self._known) >= _SPACES_MAX:
                    self._known.clear()
                self._known[place] = space

    def forget(self) -> None:
        """Drop all: one has changed."""
        with self._lock:
            self.changes += 1
            self._known.clear()


def weight(found: Found) -> int:
    """Return about how many bytes of memory a memory takes, decoded."""
    body = found.subject.body
    metadata = 0 if body.metadata is None else memoryview(body.metadata).nbytes
    return _MEMORY_BYTES + 2 * len(found.key) + len(body.text) + _METADATA_FACTOR * metadata
