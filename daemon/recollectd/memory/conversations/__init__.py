"""Conversations: messages of a user and an assistant, in order, on the rows of logs."""

from recollectd.memory.conversations.kind import KIND

__all__ = ["KIND"]
