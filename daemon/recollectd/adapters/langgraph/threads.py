"""What a process remembers of threads it works on, so that a checkpoint is written without reading what lies before it.

All of it may be wrong by the time it is used, since other processes work on the same threads. So every commit is
guarded: by the version of the thread's record, which maintenance moves, and by the next position of each log. A guard
that fails drops the thread's memory, and the operation begins again with what is read then.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any, Final

from msgspec import Struct

from recollectd.adapters.langgraph.values import Known, Reference

MEMORY_BYTES_MAX: Final = 64 * 1024 * 1024
THREADS_MAX: Final = 1_000


class Row(Struct, array_like=True, frozen=True):
    """A checkpoint as it is stored. Do not change the order; new fields come last, with a default.

    checkpoint, metadata: (kind, bytes) as the serializer made them, the checkpoint without its channel values.
    """

    format: int
    ns: str
    parent: str | None
    run_id: str | None
    checkpoint: tuple[str, bytes]
    metadata: tuple[str, bytes]
    values: dict[str, Reference]


class Latest(Struct, frozen=True):
    """The checkpoint that was last written or read in a namespace: the next one is most likely its child."""

    checkpoint_id: str
    versions: dict[str, Any]
    values: dict[str, Reference]


class Thread:
    """What is known of one thread. generation: the version of its record, 0: it has none."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.runs: set[str] = set()
        self.known: dict[str, Known] = {}
        self.latest: dict[str, Latest] = {}

    @property
    def bytes_held(self) -> int:
        """About how much memory this takes."""
        return 1_000 + sum(known.bytes_held for known in self.known.values())


class Threads:
    """The threads used last, as many as fit; may be used by several Python threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._threads: OrderedDict[str, tuple[Thread, int]] = OrderedDict()
        self._bytes = 0

    def get(self, label: str) -> Thread | None:
        """Return what is known of a thread."""
        with self._lock:
            found = self._threads.get(label)
            if found is None:
                return None
            self._threads.move_to_end(label)
            return found[0]

    def keep(self, label: str, thread: Thread) -> None:
        """Remember a thread, or that it has grown; forget the ones used least recently beyond the bounds."""
        with self._lock:
            self._drop(label)
            size = thread.bytes_held
            self._threads[label] = (thread, size)
            self._bytes += size
            while self._threads and (self._bytes > MEMORY_BYTES_MAX or len(self._threads) > THREADS_MAX):
                self._drop(next(iter(self._threads)))

    def forget(self, label: str) -> None:
        """Forget a thread."""
        with self._lock:
            self._drop(label)

    def _drop(self, label: str) -> None:
        _, size = self._threads.pop(label, (None, 0))
        self._bytes -= size
