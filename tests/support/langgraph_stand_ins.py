"""Our LangGraph checkpointer and store under the names of those of SQLite; `:memory:` is a namespace anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any, Final

from recollectd.adapters.langgraph import RecollectdSaver

_numbers: Final = count()


class Place:
    """Where the stand-ins find their daemon: set by the test module that uses them."""

    url = ""


def namespace_for(conn_string: str) -> tuple[str, ...]:
    """Return the namespace that stands for a database file, or a new one for a database in memory."""
    if conn_string == ":memory:":
        return ("foreign", f"memory-{next(_numbers)}")
    return ("foreign", "file", conn_string[-100:])


class SqliteSaver(RecollectdSaver):
    """The checkpointer, opened as SQLite's is."""

    @classmethod
    @contextmanager
    def from_conn_string(cls, url: str, **options: Any) -> Iterator[Any]:
        with cls(Place.url, namespace=namespace_for(url), **options) as saver:
            yield saver

    def setup(self) -> None:
        """Do nothing: there are no tables."""


class AsyncSqliteSaver(RecollectdSaver):
    """The checkpointer, opened as SQLite's for asyncio is."""

    @classmethod
    @asynccontextmanager
    async def from_conn_string(cls, url: str, **options: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        async with cls(Place.url, namespace=namespace_for(url), **options) as saver:
            yield saver

    async def setup(self) -> None:
        """Do nothing: there are no tables."""
