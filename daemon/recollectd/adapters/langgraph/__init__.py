"""LangGraph: a checkpointer and a store over a recollectd daemon. Needs the extra `recollectd[langgraph]`.

with RecollectdSaver("unix:///run/recollectd/recollectd.sock") as saver:
    graph = builder.compile(checkpointer=saver)
    graph.invoke({"messages": [("user", "Hello")]}, {"configurable": {"thread_id": "ada"}})
"""

from __future__ import annotations

from recollectd.adapters.langgraph.moving import copy_checkpoints
from recollectd.adapters.langgraph.saver import RecollectdSaver
from recollectd.adapters.langgraph.store import AsyncRecollectdStore, RecollectdStore

__all__ = ["AsyncRecollectdStore", "RecollectdSaver", "RecollectdStore", "copy_checkpoints"]
