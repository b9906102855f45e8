"""Many threads in one engine: who may run meanwhile, what they see, and how closing waits for them."""

from __future__ import annotations

import functools
import random
import sys
import threading
from collections.abc import Callable

from recollectd.storage.engine import Engine, EngineClosed
from recollectd.storage.keyspace import PUT, Family
from support.engines import OpenEngine, rows


class Ticker:
    """A thread that counts how often it got to run. It asks for the interpreter all the time but never forces it."""

    def __enter__(self) -> Ticker:
        self.ticks = 0
        self._stop = False
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(1000)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def _run(self) -> None:
        lock = threading.Lock()
        lock.acquire()
        while not self._stop:
            self.ticks += 1
            lock.acquire(timeout=0.0001)  # gives the interpreter away

    def __exit__(self, *_: object) -> None:
        self._stop = True
        sys.setswitchinterval(self._interval)
        self._thread.join()


def test_get_many_and_flush_let_other_threads_run(engine: Engine) -> None:
    engine.write(rows(20_000, Family.VALUES, b"v" * 100), 1)
    keys = [b"%08d" % number for number in range(20_000)]
    with Ticker() as ticker:
        before = ticker.ticks
        engine.get_many(Family.VALUES, keys)
        after_get, before_flush = ticker.ticks, ticker.ticks
        engine.flush()
        after_flush = ticker.ticks
        sum(range(1_000_000))
        after_nothing = ticker.ticks
    assert after_get > before
    assert after_flush > before_flush
    assert after_nothing == after_flush, "the ticker runs without being let: this test shows nothing"


def test_readers_see_whole_batches_while_one_writes_and_another_flushes(engine: Engine) -> None:
    keys = [b"%08d" % number for number in range(50)]
    done = threading.Event()
    failures: list[BaseException] = []

    def loop(step: Callable[[], object]) -> None:
        try:
            while not done.is_set():
                step()
        except BaseException as error:
            failures.append(error)

    def read() -> None:
        assert len(set(engine.get_many(Family.VALUES, keys))) == 1

    def walk() -> None:
        reverse = random.random() < 0.5
        found = engine.walk(Family.VALUES, b"", b"\xff", keys_max=100, reverse=reverse)
        assert len({value for _, value in found}) <= 1
        assert len(found) in (0, 50)

    steps: list[Callable[[], object]] = [read, read, walk, walk, engine.flush]
    threads = [threading.Thread(target=loop, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for seq in range(1, 1500):
        engine.write([(PUT, Family.VALUES, key, b"%d" % seq) for key in keys], seq)
        if failures:
            break
    done.set()
    for thread in threads:
        thread.join()
    assert not failures


class SlowFamily:
    """Stands in for a family and takes its time with a get: until closing has begun, and then some."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.entered = threading.Event()
        self.closed_early: bool | None = None
        self.closer: threading.Thread | None = None

    def get(self, keys: list[bytes]) -> list[None]:
        self.entered.set()
        while not self._engine._gate._shut:
            pass
        assert self.closer is not None
        self.closer.join(0.2)
        self.closed_early = not self.closer.is_alive()
        return [None] * len(keys)


def test_close_waits_for_those_inside(engine: Engine) -> None:
    real, slow = engine._families[Family.HEADS], SlowFamily(engine)
    engine._families[Family.HEADS] = slow  # type: ignore[call-overload]
    reader = threading.Thread(target=engine.get_many, args=(Family.HEADS, [b"a"]))
    reader.start()
    assert slow.entered.wait(60)
    engine._families[Family.HEADS] = real
    slow.closer = threading.Thread(target=engine.close)
    slow.closer.start()
    reader.join()
    slow.closer.join()
    assert slow.closed_early is False


def test_close_under_use_ends_every_user_with_engine_closed(open_engine: OpenEngine) -> None:
    keys = [b"%08d" % number for number in range(2000)]
    for _ in range(5):
        engine = open_engine()
        engine.write(rows(2000, Family.VALUES, b"v" * 100), engine.applied_seq + 1)
        started = threading.Barrier(4)
        outcomes: list[BaseException] = []

        def hammer(step: Callable[[], object], started: threading.Barrier, outcomes: list[BaseException]) -> None:
            started.wait()
            try:
                while True:
                    step()
            except BaseException as error:
                outcomes.append(error)

        steps: list[Callable[[], object]] = [
            functools.partial(engine.get_many, Family.VALUES, keys),
            functools.partial(engine.walk, Family.VALUES, b"", b"\xff", keys_max=500),
            engine.flush,
        ]
        threads = [threading.Thread(target=hammer, args=(step, started, outcomes)) for step in steps]
        for thread in threads:
            thread.start()
        started.wait()
        engine.close()
        for thread in threads:
            thread.join()
        assert [type(outcome) for outcome in outcomes] == [EngineClosed] * 3
