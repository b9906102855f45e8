"""A collection of values of one type, by id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from recollectd.client.agents.typed import Typed
from recollectd.client.arguments import name
from recollectd.client.blocking.client import Client
from recollectd.client.blocking.faces import Transaction
from recollectd.client.kinds.state import State

T = TypeVar("T")


class Repository(Generic[T]):
    """Values of one type under `<collection>:<id>`, through a client or in a transaction.

        tasks = Repository("task", Task, client)
        client.transact(lambda transaction: tasks.within(transaction).put("7", task))

    Within a transaction what is read is guarded, and writes happen with its commit.
    """

    def __init__(self, collection: str, type: type[T], records: Client | Transaction) -> None:
        self.collection = name(collection, "collection")
        self._prefix = f"{collection}:"
        self._typed = Typed(type)
        self._state: State[Any] = records.state

    def within(self, transaction: Transaction) -> Repository[T]:
        """Return the same collection, read and written in a transaction."""
        found: Repository[T] = object.__new__(type(self))
        found.__dict__.update(self.__dict__, _state=transaction.state)
        return found

    def get(self, id: str) -> T | None:
        """Return the value with this id, or None."""
        record = self._state.get(self._key(id))
        return None if record is None else self._typed.typed(record.value)

    def put(self, id: str, value: T) -> None:
        """Store a value under an id, whether there was one or not. Raises InvalidArgument naming what does not fit."""
        self._state.put(self._key(id), self._typed.plain(value))

    def add(self, id: str, value: T) -> None:
        """Store a value under an id that is not there yet. Raises VersionConflict; in a transaction at its commit."""
        self._state.put(self._key(id), self._typed.plain(value), if_absent=True)

    def remove(self, id: str) -> None:
        """Delete the value with this id, if there is one."""
        self._state.delete(self._key(id))

    def list(self, *, pattern: str = "") -> Iterator[tuple[str, T]]:
        """Walk ids and values in the order of the ids' bytes; pattern: of ids, a glob."""
        search = f"{_literal(self._prefix)}{pattern}" if pattern else ""
        for record in self._state.scan(self._prefix, pattern=search):
            yield record.key.removeprefix(self._prefix), self._typed.typed(record.value)

    def _key(self, id: str) -> str:
        return self._prefix + name(id, "id")


def _literal(text: str) -> str:
    """Return a glob that matches this text alone."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)
