"""Our LangGraph checkpointer and store under the names of those of SQLite; `:memory:` is a namespace anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from types import ModuleType
from typing import Any, Final

from langgraph.store.base import IndexConfig

from recollectd.adapters.langgraph import AsyncRecollectdStore, RecollectdSaver, RecollectdStore
from support.foreign import Sdist, load, stand_in

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


def _options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of SQLite's store as ours takes them."""
    if options.get("index") is not None:
        index = dict(options["index"])
        index["fields"] = index.pop("text_fields", None) or index.get("fields")
        options = {**options, "index": index}
    return options


class SqliteStore(RecollectdStore):
    """The store, opened as SQLite's is. There are no tables to set up, and nothing to sweep."""

    @classmethod
    @contextmanager
    def from_conn_string(cls, url: str, **options: Any) -> Iterator[Any]:
        with cls(Place.url, namespace=namespace_for(url), **_options(options)) as store:
            yield store

    def setup(self) -> None: ...

    def sweep_ttl(self) -> int:
        return 0

    def start_ttl_sweeper(self) -> None: ...

    def stop_ttl_sweeper(self) -> None: ...


class AsyncSqliteStore(AsyncRecollectdStore):
    """The store for asyncio, opened as SQLite's is."""

    @classmethod
    @asynccontextmanager
    async def from_conn_string(cls, url: str, **options: Any) -> AsyncIterator[Any]:
        async with cls(Place.url, namespace=namespace_for(url), **_options(options)) as store:
            yield store

    async def setup(self) -> None: ...

    async def sweep_ttl(self) -> int:
        return 0

    async def start_ttl_sweeper(self) -> None: ...

    async def stop_ttl_sweeper(self) -> None: ...


def _module(name: str, **contents: Any) -> dict[str, ModuleType]:
    return {name: stand_in(name, **contents)}


def _sql(*_: object) -> None:
    """Stand for what only tests of SQL use, which are left out."""
    raise AssertionError("a test of SQL was not left out")


_SUITE: Final = Sdist(
    "langgraph-checkpoint-sqlite", "3.1.2", "4e3f376fa6f192d6ad2a1a4643b039986f1593552ef870e9e45281575de6fbf2"
)
_REPLACING: Final = {
    **_module("langgraph.checkpoint.sqlite", SqliteSaver=SqliteSaver),
    **_module("langgraph.checkpoint.sqlite.aio", AsyncSqliteSaver=AsyncSqliteSaver),
    **_module("langgraph.checkpoint.sqlite._delta", DELTA_STAGE1_SQL=""),
    **_module("langgraph.checkpoint.sqlite.utils", _metadata_predicate=_sql, search_where=_sql),
    **_module("langgraph.store.sqlite", SqliteStore=SqliteStore, AsyncSqliteStore=AsyncSqliteStore),
    **_module("langgraph.store.sqlite.aio", AsyncSqliteStore=AsyncSqliteStore),
    **_module(
        "langgraph.store.sqlite.base",
        NS_MATCH_FUNCTION="",
        BaseSqliteStore=SqliteStore,
        SqliteIndexConfig=IndexConfig,
        _escape_glob_literal=_sql,
        _namespace_match_pattern=_sql,
    ),
}


def foreign_tests(name: str) -> ModuleType:
    """Return a module of the tests of langgraph-checkpoint-sqlite, with ours in place of its classes."""
    tests = _SUITE.fetch() / "tests"
    # One of them takes an embedding from another.
    helpers = load(tests / "test_store.py", replacing=_REPLACING) if name == "test_async_store" else None
    more = {} if helpers is None else {"tests.test_store": helpers}
    return load(tests / f"{name}.py", replacing={**_REPLACING, **more})
