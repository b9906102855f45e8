"""LangChain core: a key-value store, a cache and a chat history over a recollectd daemon."""

from recollectd.adapters.langchain.cache import RecollectdCache
from recollectd.adapters.langchain.history import RecollectdChatMessageHistory
from recollectd.adapters.langchain.store import RecollectdByteStore, RecollectdStore

__all__ = ["RecollectdByteStore", "RecollectdCache", "RecollectdChatMessageHistory", "RecollectdStore"]
