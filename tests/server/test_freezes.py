"""The longest freeze of the loop and what caused it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from recollectd.server.freezes import FreezeWatch


class Loop:
    """A clock and one timer."""

    def __init__(self) -> None:
        self.now = 1.0
        self._due: tuple[float, Callable[[], None]] | None = None

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Loop:
        self._due = self.now + delay, callback
        return self

    def cancel(self) -> None:
        self._due = None

    def tick(self, late: float) -> None:
        """Let the timer fire so much too late."""
        assert self._due is not None
        self.now, callback = self._due[0] + late, self._due[1]
        callback()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def freezes(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Iterator[FreezeWatch]:
    monkeypatch.setattr(FreezeWatch, "_run_queue_wait_s", lambda self: 0.0)
    watch = FreezeWatch(loop)  # type: ignore[arg-type]
    watch.start()
    yield watch
    watch.stop()


def test_the_longest_step_is_named_as_the_cause(loop: Loop, freezes: FreezeWatch) -> None:
    freezes.note("a short one", 0.001)
    freezes.note("apply", 0.2)
    loop.tick(0.25)
    assert (round(freezes.longest.seconds, 6), freezes.longest.cause) == (0.25, "apply")
    loop.tick(0.02)
    assert freezes.longest.cause == "apply", "what is shorter does not count"


def test_a_step_much_shorter_than_the_freeze_is_not_its_cause(loop: Loop, freezes: FreezeWatch) -> None:
    freezes.note("apply", 0.01)
    loop.tick(0.1)
    assert freezes.longest.cause == "requests"


def test_steps_count_for_the_tick_they_lie_in(loop: Loop, freezes: FreezeWatch) -> None:
    freezes.note("apply", 0.2)
    loop.tick(0.0)
    loop.tick(0.3)
    assert freezes.longest.cause == "requests"


def test_the_recent_ones_are_of_this_minute_and_the_last(loop: Loop, freezes: FreezeWatch) -> None:
    loop.tick(0.5)
    longest = freezes.longest
    assert freezes.recent == longest
    for _ in range(13_000):  # two minutes and more, a tick each 10 ms
        loop.tick(0.001)
    assert round(freezes.recent.seconds, 6) == 0.001
    assert freezes.longest == longest


def test_what_the_run_queue_took_is_not_held_against_the_loop(
    loop: Loop, freezes: FreezeWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FreezeWatch, "_run_queue_wait_s", lambda self: 0.4)
    loop.tick(0.5)
    assert round(freezes.longest.seconds, 6) == 0.1
