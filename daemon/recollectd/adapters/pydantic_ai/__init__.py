"""Pydantic AI: a conversation store over a recollectd daemon."""

from recollectd.adapters.pydantic_ai.store import RecollectdConversationStore

__all__ = ["RecollectdConversationStore"]
