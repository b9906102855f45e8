"""Vectors of conversations' messages: rows of their own beside the messages, which stay as they are."""

from recollectd.memory.message_vectors.kind import KIND

__all__ = ["KIND"]
