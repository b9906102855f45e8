"""Semantic memories: text with metadata, place, times and vectors, versioned; and the vector spaces they live in."""

from recollectd.memory.memories.kind import KINDS

__all__ = ["KINDS"]
