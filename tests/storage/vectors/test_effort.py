"""How far a space is searched follows its samples: up in doubt, down when certain, and anew when graphs change."""

from __future__ import annotations

import random

import pytest

from recollectd.storage.vectors.effort import HASTES, LADDER, SAMPLES_MAX, SAMPLES_MIN, Effort

WANTED = 0.95
GOOD = [0.5] * 10 + [1.0] * (len(LADDER) - 10)
ALL, NONE = [1.0] * len(LADDER), [0.0] * len(LADDER)


def told(effort: Effort, shares: list[float], times: int) -> Effort:
    for _ in range(times):
        effort.learn(shares, effort.generation)
    return effort


def test_it_follows_samples_a_rung_at_a_time() -> None:
    effort = told(Effort(64, WANTED), GOOD, SAMPLES_MIN - 1)
    assert effort.now == 64
    assert told(effort, GOOD, 1).now == LADDER[LADDER.index(64) + 1]
    assert told(effort, GOOD, 5).now == LADDER[10]
    assert told(effort, ALL, 600).now == LADDER[0]
    assert told(effort, NONE, 600).now == LADDER[-1]


def test_from_between_two_rungs_it_comes_to_the_ladder() -> None:
    assert told(Effort(50, WANTED), GOOD, SAMPLES_MIN).now == 54
    assert told(Effort(1_000, WANTED), GOOD, 300).now == LADDER[10]


def test_without_a_recall_to_hold_it_stays() -> None:
    effort = told(Effort(99, 0), ALL, 100)
    assert (effort.now, effort.haste) == (99, 1)


def test_a_few_samples_that_found_all_do_not_prove_enough_to_fall() -> None:
    assert told(Effort(64, WANTED), ALL, SAMPLES_MIN).now < 64
    assert told(Effort(64, 0.99), ALL, SAMPLES_MIN).now == 64


def test_samples_are_in_haste_until_there_are_enough_of_these_graphs() -> None:
    effort = Effort(64, WANTED)
    for _ in range(2):
        for count, haste in HASTES:
            assert effort.haste == haste
            told(effort, GOOD, count)
        assert effort.haste == 1
        effort.changed()


def test_samples_of_earlier_graphs_do_not_outvote_those_of_the_new() -> None:
    effort = told(Effort(64, WANTED), ALL, SAMPLES_MAX)
    assert effort.now == LADDER[0]
    effort.changed()
    # Among so many old ones these few would not count; by themselves they say what these graphs need.
    told(effort, GOOD, SAMPLES_MIN + 10)
    assert effort.now == LADDER[10]


def test_on_the_word_of_earlier_graphs_it_does_not_fall() -> None:
    effort = told(Effort(64, WANTED), GOOD, SAMPLES_MIN)
    reached = effort.now
    told(effort, ALL, 1)
    effort.changed()
    told(effort, ALL, SAMPLES_MIN - 1)
    assert effort.now >= reached
    assert told(effort, ALL, SAMPLES_MAX).now == LADDER[0]


def test_a_sample_taken_before_the_graphs_changed_is_dropped() -> None:
    effort = told(Effort(64, WANTED), GOOD, SAMPLES_MIN - 1)
    before = effort.generation
    effort.changed()
    effort.learn(GOOD, before)
    assert effort.now == 64
    effort.learn(GOOD, effort.generation)
    assert effort.now > 64


@pytest.mark.parametrize("seed", range(8))
def test_the_recall_is_a_lower_bound(seed: int) -> None:
    """Searches of which each effort finds so much on the average, one this, one that: it ends where that is enough."""
    rng = random.Random(seed)
    means = [1 - 0.12 * 0.82**rung for rung in range(len(LADDER))]
    enough = next(effort for effort, mean in zip(LADDER, means, strict=True) if mean >= WANTED)
    effort = Effort(16, WANTED)
    low = 0
    for number in range(2_000):
        told(effort, [sum(rng.random() < mean for _ in range(10)) / 10 for mean in means], 1)
        low += number > SAMPLES_MAX and effort.now < enough
    assert low <= 2_000 * 0.05
    assert effort.now <= LADDER[LADDER.index(enough) + 3]
