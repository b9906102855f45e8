"""What can go wrong in the engine, and which of it may be tried again.

    EngineError
    ├── EngineStalled   RocksDB is behind with flushing or compacting: the same write works later
    ├── EngineFull      no room on the disk: RocksDB goes on by itself once there is
    ├── EngineCorrupt   what is on the disk is not what was written; never re-created, never skipped
    ├── EngineFailed    anything else: end the process and let it be started again
    └── EngineClosed    used after close: a defect of the caller

rocksdict raises bare `Exception(message)`; RocksDB's own words at the message's beginning are all there is to go by.
"""

from __future__ import annotations

from typing import Final


class EngineError(Exception):
    """Base of everything the engine raises on purpose; the message holds RocksDB's own."""


class EngineStalled(EngineError):
    """Nothing was written. The same writes are accepted once RocksDB has flushed or compacted."""


class EngineFull(EngineError):
    """Nothing was written, or nothing became durable: the file system or its quota has no room."""


class EngineCorrupt(EngineError):
    """A file is damaged or missing."""


class EngineFailed(EngineError):
    """RocksDB is in an unknown state: an I/O error, or a defect of ours. Fatal for the process."""


class EngineClosed(EngineError):
    """The engine was closed before this call."""


_STALLED: Final = "Write stall"
_NO_ROOM: Final = ("No space left", "Disk quota exceeded")
_MISSING: Final = ("No such file", "does not exist")


def engine_error(message: str, *, opening: bool = False) -> EngineError:
    """Return the error that RocksDB's message stands for.

    opening: while a store is opened, a file that is missing is damage; later it is an I/O error like others.
    """
    if _STALLED in message:
        return EngineStalled(message)
    if any(words in message for words in _NO_ROOM):
        return EngineFull(message)
    if message.startswith("Corruption:"):
        return EngineCorrupt(message)
    if opening and any(words in message for words in _MISSING):
        return EngineCorrupt(message)
    return EngineFailed(message)
