"""What the adapters for LangChain share: their place below the client's namespace, and LangChain's errors."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from langchain_core.exceptions import LangChainException

from recollectd.adapters.failures import translated
from recollectd.client import Client

LABEL: Final = "langchain"
"""Do not change, nor the labels of the kinds below it: what is stored would not be found again."""


def place(client: Client, kind: str, name: str) -> Client:
    """Return a view of a client on the namespace of one store, cache or history."""
    with in_their_terms():
        return client.with_namespace(*client.namespace, LABEL, kind, name)


def in_their_terms() -> AbstractContextManager[None]:
    """Raise LangChainException for what recollectd refuses or cannot do now."""
    return translated(LangChainException, LangChainException)
