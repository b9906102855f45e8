"""What commits say of the memories they wrote, for who tells the views: it need not be read back from the records.

To read it takes four list gets, each of which gives the interpreter away and waits until it has it again, while
searches wait for what is told.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from recollectd.memory.kind import Event
from recollectd.memory.memories.events import MemoryEmbedded, MemoryHidden, MemoryRemoved, MemoryWritten
from recollectd.memory.memories.fetching import Found
from recollectd.memory.memories.filters import Subject
from recollectd.memory.memories.heads import decode_body, unpack_vectors
from recollectd.storage.keyspace import namespace_end

BROUGHT_BYTES_MAX: Final = 20_000_000
# Of the event, its head and its place here.
_EVENT_BYTES: Final = 800


class Brought:
    """By record key, the newest of each. bytes_max: of contents; what is beyond is read from the records.

    Threads: any may call anything.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._lock = threading.Lock()
        self._written: dict[bytes, tuple[int, MemoryWritten]] = {}

    def __len__(self) -> int:
        return len(self._written)

    def note(self, seq: int, events: Iterable[Event]) -> None:
        """Take what an applied commit says; what it changed otherwise is known from the records alone."""
        with self._lock:
            for event in events:
                if isinstance(event, MemoryWritten):
                    self._drop(event.key)
                    # Told with neither, a memory keeps the vectors that it had.
                    whole = event.vectors is not None or not event.head.vectors
                    if whole and self._bytes + _weight(event) <= self._bytes_max:
                        self._written[event.key] = seq, event
                        self._bytes += _weight(event)
                elif self._written and isinstance(event, MemoryRemoved | MemoryHidden | MemoryEmbedded):
                    self._drop(event.key)

    def take(self, seq: int, keys: Iterable[bytes]) -> dict[bytes, Found]:
        """Return the memories of keys of which the last that was noted is known and of a commit up to this one."""
        taken: list[MemoryWritten] = []
        with self._lock:
            for key in keys:
                known = self._written.get(key)
                if known is not None and known[0] <= seq:
                    self._drop(key)
                    taken.append(known[1])
        return {event.key: _found(event) for event in taken}

    def _drop(self, key: bytes) -> None:
        known = self._written.pop(key, None)
        if known is not None:
            self._bytes -= _weight(known[1])


def _weight(event: MemoryWritten) -> int:
    return _EVENT_BYTES + len(memoryview(event.body)) + (0 if event.vectors is None else len(memoryview(event.vectors)))


def _found(event: MemoryWritten) -> Found:
    subject = Subject(event.key[namespace_end(event.key) :].decode(), event.head, decode_body(event.body))
    return Found(event.key, subject, {} if event.vectors is None else unpack_vectors(event.vectors))
