"""The thin client: `Client` blocks, `AsyncClient` is for asyncio; both speak the protocol and need msgspec alone.

    with Client("unix:///run/recollectd/recollectd.sock", namespace=("acme", "assistant-7")) as memory:
        memory.state.put("profile", {"name": "Ada"}, ttl=3600)
        record = memory.state.get("profile")

`errors` has every exception, `results` what calls return; `agents` has what is made of these calls for agents and
their teams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recollectd.client import results
from recollectd.client.blocking.client import Client
from recollectd.client.blocking.faces import Transaction
from recollectd.client.blocking.pipeline import Pipeline
from recollectd.client.blocking.watch import Watch
from recollectd.client.collecting import Batch
from recollectd.client.embedding import Embedding
from recollectd.client.handles import Handle
from recollectd.client.results import NewMemory, NewMessage
from recollectd.protocol import errors
from recollectd.protocol.errors import RecollectdError

if TYPE_CHECKING:
    from recollectd.client.agents.buffer import PersistentBufferMemory
    from recollectd.client.aio.client import AsyncClient
    from recollectd.client.aio.faces import AsyncTransaction
    from recollectd.client.aio.pipeline import AsyncPipeline
    from recollectd.client.aio.watch import AsyncWatch

__all__ = [
    "AsyncClient",
    "AsyncPipeline",
    "AsyncTransaction",
    "AsyncWatch",
    "Batch",
    "Client",
    "Embedding",
    "Handle",
    "NewMemory",
    "NewMessage",
    "PersistentBufferMemory",
    "Pipeline",
    "RecollectdError",
    "Transaction",
    "Watch",
    "errors",
    "results",
]

# asyncio takes several times as long to import as the rest: programs that block do not pay for it, nor do those that
# need no buffer for its logging.
_LAZY = {
    "AsyncClient": "recollectd.client.aio.client",
    "AsyncPipeline": "recollectd.client.aio.pipeline",
    "AsyncTransaction": "recollectd.client.aio.faces",
    "AsyncWatch": "recollectd.client.aio.watch",
    "PersistentBufferMemory": "recollectd.client.agents.buffer",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
