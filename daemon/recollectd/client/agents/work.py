"""Several changes that happen together or not at all, and what is to be done once they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from recollectd.client.agents.repository import Repository
from recollectd.client.blocking.client import Client
from recollectd.client.blocking.faces import Transaction

T = TypeVar("T")
Value = TypeVar("Value")


class Work:
    """One attempt of a unit of work: its transaction, and what is called after the commit."""

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self.state = transaction.state
        self.logs = transaction.logs
        self.conversations = transaction.conversations
        self._after: list[Callable[[], object]] = []

    def repository(self, collection: str, type: type[Value]) -> Repository[Value]:
        """Return a collection whose reads are guarded and whose writes happen with the commit."""
        return Repository(collection, type, self.transaction)

    def after_commit(self, action: Callable[[], object]) -> None:
        """Have something done once, when everything is durable; never for an attempt that came to nothing."""
        self._after.append(action)

    def committed(self) -> None:
        """Do what was to be done after the commit."""
        for action in self._after:
            action()


class UnitOfWork:
    """Runs functions as atomic, serializable units: all that one writes is stored, or nothing of it.

        UnitOfWork(client).run(lambda work: work.repository("task", Task).put("7", task))

    A function is run again, up to `attempts` times, when what it read has changed before its commit; so whatever else
    it is to do, such as sending a message, belongs into `work.after_commit`.
    """

    def __init__(self, client: Client, *, attempts: int = 10) -> None:
        self._client = client
        self._attempts = attempts

    def run(self, function: Callable[[Work], T]) -> T:
        """Run a function and return what it returned. Raises TransactionConflict after the last attempt."""
        last: list[Work] = []

        def attempt(transaction: Transaction) -> T:
            last[:] = [Work(transaction)]
            return function(last[0])

        result = self._client.transact(attempt, attempts=self._attempts)
        last[0].committed()
        return result
