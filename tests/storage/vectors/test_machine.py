"""Random changes, merges, checkpoints, compactions and crashes at any file operation, against brute force."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
from hypothesis import settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from recollectd.storage.vectors import building, parking
from recollectd.storage.vectors.builders import HereBuilder
from recollectd.storage.vectors.building import Job
from recollectd.storage.vectors.changes import Create, Delete, Drop, Put
from recollectd.storage.vectors.errors import BuildFailed
from recollectd.storage.vectors.spec import Floats, Metric, Precision, Spec
from support.vectors import Journaled

OPERATIONS: Final = ("fsync", "rename", "unlink", "mkdir", "rmdir", "truncate")
DIMENSIONS: Final = 6

# One name is the beginning of another, in scopes and in spaces.
keys = some.sampled_from([(b"a", "x"), (b"a", "xy"), (b"ab", "x")])
ids = some.integers(0, 30).map(lambda number: f"r{number}".encode())
seeds = some.integers(0, 2**32 - 1)
specs = some.builds(
    Spec, some.just(DIMENSIONS), some.sampled_from(Metric), some.sampled_from([Precision.F32, Precision.BF16])
)


class Crashed(BaseException):
    """Nobody may handle it, as nobody handles a kill."""


class CrashAt:
    """Lets the file operations before one go through, and ends at it and all later ones."""

    def __init__(self, number: int) -> None:
        self._left = number
        self._patches = [mock.patch.object(os, name, self._counted(getattr(os, name))) for name in OPERATIONS]

    def _counted(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            if not self._left:
                raise Crashed
            self._left -= 1
            return operation(*arguments, **named)

        return counted

    def __enter__(self) -> None:
        for patch in self._patches:
            patch.start()

    def __exit__(self, *_: object) -> None:
        for patch in self._patches:
            patch.stop()


class Machine(RuleBasedStateMachine):
    @initialize(spec=specs)
    def begin(self, spec: Spec) -> None:
        self.folder = tempfile.TemporaryDirectory()
        # Graphs are parked after every few rows, so that each build that is cut off leaves something.
        self.patches: list[Any] = [
            mock.patch.object(building, "CHUNK_ROWS", 3),
            mock.patch.object(parking, "ROWS_MIN", 1),
            mock.patch.object(parking, "PARKING_SHARE", 1e9),
        ]
        for patch in self.patches:
            patch.start()
        self.meanwhile: Callable[[], None] | None = None
        self.journaled = Journaled(Path(self.folder.name, "view"), builder=HereBuilder(self.between))
        self.journaled.commit(Create(b"a", "x", spec))

    def between(self, _: Job) -> None:
        """Do what a test wants done while a segment is built."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
            self.journaled.check_all()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()
            for patch in self.patches:
                patch.stop()

    @rule(key=keys, spec=specs)
    def create(self, key: tuple[bytes, str], spec: Spec) -> None:
        self.journaled.commit(Create(*key, spec))

    @rule(key=keys)
    def drop(self, key: tuple[bytes, str]) -> None:
        self.journaled.commit(Drop(*key))

    @rule(key=keys, spec=specs, seed=seeds)
    def drop_and_create(self, key: tuple[bytes, str], spec: Spec, seed: int) -> None:
        vector = np.random.default_rng(seed).normal(size=DIMENSIONS).astype("<f4").tobytes()
        self.journaled.commit(Drop(*key), Create(*key, spec), Put(*key, b"r0", vector))

    @rule(key=keys, chosen=some.lists(ids, min_size=1, max_size=12), seed=seeds)
    def put(self, key: tuple[bytes, str], chosen: list[bytes], seed: int) -> None:
        rng = np.random.default_rng(seed)
        vectors = [rng.normal(size=DIMENSIONS).astype("<f4").tobytes() for _ in chosen]
        self.journaled.commit(*(Put(*key, one, vector) for one, vector in zip(chosen, vectors, strict=True)))

    @rule(key=keys, chosen=some.lists(ids, min_size=1, max_size=6))
    def delete(self, key: tuple[bytes, str], chosen: list[bytes]) -> None:
        self.journaled.delete(key, chosen)

    @rule(key=keys, one=ids, seed=seeds)
    def put_and_delete_and_put(self, key: tuple[bytes, str], one: bytes, seed: int) -> None:
        rng = np.random.default_rng(seed)
        first, last = (rng.normal(size=DIMENSIONS).astype("<f4").tobytes() for _ in range(2))
        self.journaled.commit(Put(*key, one, first), Delete(*key, one), Put(*key, one, last))

    @rule()
    def checkpoint(self) -> None:
        assert self.journaled.view.checkpoint() == len(self.journaled.journal)

    @rule()
    def maintain(self) -> None:
        self.journaled.view.maintain()

    @rule(key=keys)
    def merge(self, key: tuple[bytes, str]) -> None:
        if key in self.journaled.specs:
            self.journaled.view.merge(*key)

    @rule(
        key=keys,
        chosen=some.lists(ids, max_size=10),
        gone=some.lists(ids, max_size=6),
        seed=seeds,
        checkpoint=some.booleans(),
        whole=some.booleans(),
    )
    def merge_while_things_change(
        self, key: tuple[bytes, str], chosen: list[bytes], gone: list[bytes], seed: int, checkpoint: bool, whole: bool
    ) -> None:
        def meanwhile() -> None:
            self.put(key, chosen, seed)
            self.delete(key, gone)
            self.put(key, gone[:2], seed + 1)
            if checkpoint:
                self.checkpoint()

        if key in self.journaled.specs:
            self.meanwhile = meanwhile
            self.journaled.view.compact() if whole else self.journaled.view.merge(*key)
            self.meanwhile = None

    @rule(key=keys, seed=seeds, crash=some.booleans())
    def a_build_fails(self, key: tuple[bytes, str], seed: int, crash: bool) -> None:
        def meanwhile() -> None:
            self.put(key, [b"r1", b"r2"], seed)
            self.delete(key, [b"r3"])
            raise Crashed if crash else BuildFailed

        if key in self.journaled.specs:
            self.meanwhile = meanwhile
            with contextlib.suppress(BuildFailed, Crashed):
                self.journaled.view.merge(*key)
            self.meanwhile = None
            if crash:
                self.journaled.reopen()

    @rule(key=keys, steps=some.integers(1, 4), seed=seeds, whole=some.booleans())
    def a_build_is_cut_off_when_it_has_parked(self, key: tuple[bytes, str], steps: int, seed: int, whole: bool) -> None:
        park, left = parking.Parker.park, steps

        def park_and_crash(*arguments: Any) -> None:
            nonlocal left
            park(*arguments)
            left -= 1
            if not left:
                raise Crashed

        if key in self.journaled.specs:
            self.put(key, [f"r{number}".encode() for number in range(12)], seed)
            self.journaled.view.checkpoint()
            with mock.patch.object(parking.Parker, "park", park_and_crash), contextlib.suppress(Crashed):
                self.journaled.view.compact() if whole else self.journaled.view.merge(*key)
            self.journaled.reopen()

    @rule(key=keys, seed=seeds)
    def rebuild_while_things_change(self, key: tuple[bytes, str], seed: int) -> None:
        def records() -> Iterator[tuple[bytes, Floats]]:
            for number, row in enumerate(sorted(self.journaled.records[key].items())):
                if number == 3:
                    self.put(key, [b"r1", b"r9"], seed)
                    self.delete(key, [b"r2", row[0]])
                    self.checkpoint()
                yield row

        if key in self.journaled.specs:
            self.journaled.view.rebuild(*key, records())

    @rule()
    def compact(self) -> None:
        self.journaled.view.compact()

    @rule()
    def reopen(self) -> None:
        self.journaled.reopen()

    @rule(
        number=some.integers(0, 40), what=some.sampled_from(["checkpoint", "compact", "merge"]), again=some.booleans()
    )
    def crash(self, number: int, what: str, again: bool) -> None:
        view = self.journaled.view
        try:
            with CrashAt(number):
                if what == "merge":
                    for key in self.journaled.specs:
                        view.merge(*key)
                else:
                    getattr(view, what)()
        except Crashed:
            self.journaled.view = self.journaled.open()
            if again:  # what opening begins is cut short, too
                self.journaled.view = self.journaled.open()
            self.journaled.replay()

    @rule(number=some.integers(0, 5))
    def crash_while_opening(self, number: int) -> None:
        try:
            with CrashAt(number):
                self.journaled.open()
        except Crashed:
            pass
        self.journaled.reopen()

    @rule(key=keys)
    def rebuild(self, key: tuple[bytes, str]) -> None:
        if key in self.journaled.specs:
            self.journaled.view.rebuild(*key, iter(list(self.journaled.records[key].items())))

    @invariant()
    def answers_as_brute_force(self) -> None:
        if hasattr(self, "journaled"):
            for scope, space, _ in self.journaled.view.damaged():
                # A crash between a rebuild and the next checkpoint: it is asked for again.
                records = self.journaled.records[scope, space]
                self.journaled.view.rebuild(scope, space, iter(list(records.items())))
            self.journaled.check_all()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=50, stateful_step_count=40)
