"""The client's face to a FakeStore: the client's own methods, checks and results, with dicts behind them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from recollectd.client.arguments import label_tuple
from recollectd.client.blocking.faces import walk_pages
from recollectd.client.calls import Blocking, Call, Walk
from recollectd.client.collecting import Batch, BatchFace
from recollectd.client.handles import Handle
from recollectd.client.kinds.everything import Everything
from support.fake_store import FakeStore

T = TypeVar("T")


class _Face:
    works_apart = False

    def __init__(self, store: FakeStore) -> None:
        self._store = store

    def query(self, call: Call[Any]) -> Any:
        while True:
            outcome = call.convert(self._store.answer(call.request))
            if type(outcome) is not Call:
                return outcome
            call = outcome

    operation = command = query

    def walk(self, call: Walk[Any]) -> Any:
        return walk_pages(self.query, call)


class _PipelineFace(_Face):
    """Calls are carried out at once; handles give the results."""

    def query(self, call: Call[Any]) -> Any:
        handle: Handle[Any] = Handle(lambda: None, call)
        try:
            handle.settle(super().query(call))
        except Exception as error:
            handle.fail(error)
        return handle

    operation = command = query


class _Pipeline(Everything[Any]):
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class _Batch(Batch):
    def __init__(self, store: FakeStore, namespace: tuple[str, ...], *, raises: bool) -> None:
        super().__init__(BatchFace(), namespace, raises=raises)
        self._store = store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *exception: object) -> None:
        call = self.close()
        if error_type is None and call is not None:
            call.convert(self._store.answer(call.request))
            self.raise_refusals()


class FakeClient(Everything[Blocking]):
    """Stands in for `recollectd.client.Client`."""

    def __init__(self, store: FakeStore, namespace: tuple[str, ...] = ("default",)) -> None:
        super().__init__(_Face(store), label_tuple(namespace))
        self._store = store

    def pipeline(self, *, raises: bool = True) -> _Pipeline:
        return _Pipeline(_PipelineFace(self._store), self.namespace)

    def batch(self, *, raises: bool = True) -> _Batch:
        return _Batch(self._store, self.namespace, raises=raises)

    def transact(self, function: Callable[[Any], T], *, attempts: int = 10) -> T:
        before = copy.deepcopy((self._store.states, self._store.logs, self._store.talks))
        try:
            return function(self)
        except Exception:
            self._store.states, self._store.logs, self._store.talks = before
            raise

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
