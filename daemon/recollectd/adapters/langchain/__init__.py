"""LangChain core: stores, a cache, a chat history and retrieval over a recollectd daemon."""

from recollectd.adapters.langchain.cache import RecollectdCache
from recollectd.adapters.langchain.history import RecollectdChatMessageHistory
from recollectd.adapters.langchain.search import RecollectdDocumentIndex, RecollectdRetriever
from recollectd.adapters.langchain.store import RecollectdByteStore, RecollectdStore
from recollectd.adapters.langchain.vectors import RecollectdVectorStore

__all__ = [
    "RecollectdByteStore",
    "RecollectdCache",
    "RecollectdChatMessageHistory",
    "RecollectdDocumentIndex",
    "RecollectdRetriever",
    "RecollectdStore",
    "RecollectdVectorStore",
]
