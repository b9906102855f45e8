"""Reads that join others: each is answered as of a moment after it arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from recollectd.memory.kind import Reading, ReadOperation, View
from recollectd.protocol import errors
from recollectd.protocol.messages.connection import Done
from recollectd.server import reads
from recollectd.server.reads import Read, ReadExecutor
from recollectd.storage.engine import Engine
from support.manual import ManualLoop, ManualPool

ALONE = Done()


class Asking(ReadOperation[Any]):
    """A read that says as of when it was answered; a test may do something meanwhile."""

    __slots__ = ("meanwhile",)

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        super().__init__(None)
        self.meanwhile = meanwhile

    def read(self, view: View) -> Reading:
        """Answer one that was left alone."""
        yield from ()
        self.meanwhile()
        return ALONE

    @staticmethod
    def read_together(operations: Sequence[Asking], view: View) -> list[bytes | None]:
        """Tell the time."""
        for operation in operations:
            operation.meanwhile()
        return [b"%d" % view.time for _ in operations]


class Store:
    """A store whose time and position pass when the test says so, and reads of it."""

    def __init__(self) -> None:
        self.now = 1
        self.loop = ManualLoop()
        self.engine = SimpleNamespace(applied_seq=1, get_many=None)
        self.answers: list[tuple[int, object]] = []
        self.executor = ReadExecutor(
            self.loop,
            cast(Engine, self.engine),
            threads=1,
            store_id=b"store",
            now=lambda: self.now,
            settled=lambda: 0,
            touched=lambda touches: None,
            fill=lambda position, fills: None,
        )

    @property
    def pool(self) -> ManualPool:
        return cast(ManualPool, cast(Any, self.executor)._workers)

    def ask(self, operation: Asking) -> None:
        """Submit a read that joins."""
        self.executor.submit(Read(operation.read, lambda *answer: self.answers.append(answer), joins=operation))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(reads, "Workers", ManualPool)
    made = Store()
    made.pool.held = True
    yield made
    made.loop.close()


def test_who_arrives_while_others_are_answered_sees_what_was_there_by_then(store: Store) -> None:
    def pass_time() -> None:
        store.now, store.engine.applied_seq = 50, 9
        store.ask(Asking())  # its turn of the loop has not ended when the one before is answered

    store.ask(Asking(pass_time))
    store.loop.settle()
    while store.pool.jobs:
        store.pool.run()
        store.loop.settle()
    assert store.answers == [(1, b"1"), (9, b"50")]


def test_those_that_wait_are_answered_by_who_answers_others(store: Store) -> None:
    def more() -> None:
        store.ask(Asking())
        store.loop.settle()

    store.ask(Asking(more))
    store.loop.settle()
    store.pool.run()
    store.loop.settle()
    assert [reply for _, reply in store.answers] == [b"1", b"1"]
    assert not store.pool.jobs


def test_a_defect_that_one_leads_into_harms_no_other(store: Store) -> None:
    def fail() -> None:
        raise LookupError("a defect")

    for operation in Asking(), Asking(fail), Asking():
        store.ask(operation)
    store.loop.settle()
    while store.pool.jobs:
        store.pool.run()
        store.loop.settle()
    one, failed, other = (reply for _, reply in store.answers)
    assert one == other == ALONE
    assert isinstance(failed, reads.Failed)
    assert isinstance(failed.error, errors.InternalError)
