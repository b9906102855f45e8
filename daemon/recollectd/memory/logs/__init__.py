"""Ordered logs: items at contiguous positions; conversations stand on the same rows."""

from recollectd.memory.logs.kind import KIND

__all__ = ["KIND"]
