"""Two routes, one meaning: whatever clients send, each route answers, stores and journals the same.

The script is played to one daemon per route, with the same clock, disk and randomness. Both see the same bytes in the
same pieces, so whatever differs in the end is a difference in meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import hypothesis
import pytest

from hot.streams import Step, scripts
from hot.worlds import Outcome, World
from recollectd._native import value_cache
from recollectd.config.environment import Way

SLOWEST: Final = Way.OFF
OTHERS: Final = tuple(way for way in Way if way is not SLOWEST)


class Case(NamedTuple):
    """chores: whether the daemon works by itself, too."""

    cache_bytes: int
    chores: bool


CASES: Final = pytest.mark.parametrize(
    "case",
    [Case(value_cache.BYTES_MIN, chores=True), Case(16 * value_cache.BYTES_MIN, chores=False)],
    ids=["small cache, chores", "large cache, no chores"],
)


def play(way: Way, folder: Path, script: list[Step], case: Case) -> Outcome:
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = World(monkeypatch, way, folder, cache_bytes=case.cache_bytes, chores=case.chores)
        try:
            return world.play(script)
        finally:
            world.manual.close()


def compare(folder: Path, script: list[Step], case: Case) -> None:
    expected = play(SLOWEST, folder, script, case)
    for way in OTHERS:
        found = play(way, folder, script, case)
        hold_equal("journal", [found.journal], [expected.journal], [False])
        hold_equal("answers", found.answers, expected.answers, expected.broken)
        hold_equal("written", found.written, expected.written, expected.broken)
        for name, ours, theirs in zip(Outcome._fields, found, expected, strict=True):
            assert name in ("answers", "written") or ours == theirs, f"{name}: {way} and {SLOWEST} differ"


def hold_equal(
    name: str, ours: Sequence[Sequence[object]], theirs: Sequence[Sequence[object]], broken: list[bool]
) -> None:
    """Hold that each connection got the same; one that has broken the framing may have got the more, the faster."""
    for fast, slow, over in zip(ours, theirs, broken, strict=True):
        missing = [each for each in slow if each not in fast]
        added = [each for each in fast if each not in slow]
        assert not missing, f"{name}: {missing!s:.2000} instead of {added!s:.2000}"
        assert over or fast == slow, f"{name}: {added!s:.2000}, or another order"


def settings(examples: int, *, explore: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """explore: other scripts each time; the ordinary suite plays the same ones."""
    return hypothesis.settings(
        max_examples=examples,
        derandomize=not explore,
        database=None,
        suppress_health_check=[
            hypothesis.HealthCheck.too_slow,
            hypothesis.HealthCheck.function_scoped_fixture,
            hypothesis.HealthCheck.data_too_large,
            hypothesis.HealthCheck.large_base_example,
        ],
    )


@settings(30, explore=False)
@hypothesis.given(script=scripts)
@CASES
def test_whatever_clients_send(tmp_path: Path, case: Case, script: list[Step]) -> None:
    compare(tmp_path, script, case)


@pytest.mark.long
@pytest.mark.timeout(7_200)
@settings(2_000, explore=True)
@hypothesis.given(script=scripts)
@CASES
def test_whatever_clients_send_for_long(tmp_path: Path, case: Case, script: list[Step]) -> None:
    compare(tmp_path, script, case)
