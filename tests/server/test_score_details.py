"""What results say of their scores adds up to the scores."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from typing import Any

import pytest

from recollectd.client import Client, NewMemory
from recollectd.client.results import MemoryHit
from recollectd.testing import Daemon

RARE = [f"rare{number}" for number in range(60)]
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
NOW = 1_700_000_000
VECTORS = {"a": [1.0, 2.0, 3.0], "b": [1.0, -1.0]}
OFF: dict[str, Any] = {"neighbours": 0.0, "speaker": 0.0, "expansion": 0.0, "turns": 0.0}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Daemon(options={"server.touch_interval_ms": 1}) as daemon, daemon.client() as made:
        rng = random.Random(1)
        made.vector_spaces.create("a", 3)
        made.vector_spaces.create("b", 2, metric="l2", precision="f32")
        made.memories.configure_search(accesses=True)
        made.memories.add_many(
            NewMemory(
                " ".join((rng.choice(("Ada:", "Bob:")), *rng.choices(WORDS, k=5), *rng.sample(RARE, 2)))
                + rng.choice(("", "?")),
                f"m{number}",
                importance=rng.choice((None, rng.random())),
                conversation_id=rng.choice((None, "one", "two")),
                valid_at=NOW - rng.randrange(1_000_000),
                vectors={name: [rng.gauss(0, 1) for _ in each] for name, each in VECTORS.items() if rng.random() < 0.8},
            )
            for number in range(120)
        )
        for _ in range(3):
            made.memories.search("alpha", limit=5)
        while not made.memories.search("alpha").hits[0].memory.access_count:
            made.ping()  # the count comes with an event, an interval later
        yield made


def told(hit: MemoryHit, weights: float) -> float:
    """Return the score as its details say it. weights: of all arms."""
    details = hit.score_details
    assert details is not None
    arms = sum(each.weight * each.normalised for each in details.arms if each.arm != "expansion") / weights
    expansion = sum(each.weight * each.normalised for each in details.arms if each.arm == "expansion")
    score = (arms + details.neighbours) * details.speaker * details.turn + expansion
    return score * details.recency * details.importance * details.access


SEARCHES: list[tuple[dict[str, Any], float]] = [
    ({"text": "what did Ada say of alpha and beta"}, 3.0),
    ({"vectors": VECTORS}, 2.0),
    ({"text": "Ada alpha", "vectors": VECTORS}, 5.0),
    ({"text": "Bob gamma", "vectors": VECTORS, "weights": {"keyword": 0.5, "a": 2.0, "b": 0.25}}, 2.75),
]
FACTORS: list[dict[str, Any]] = [
    {},
    {"recency_half_life": 100_000.0, "as_of": NOW},
    {"importance_weight": 0.7},
    {"access_weight": 0.6, "access_half_life": 3_600.0},
    {"recency_half_life": 100_000.0, "importance_weight": 0.3, "access_weight": 0.9, "expansion": 2.0},
    {"neighbours": 1.0, "speaker": 4.0},
    {"turns": 1.0, "neighbours": 0.0},
    {"turns": 0.0},
    {"expansion": 0.0},
]


@pytest.mark.parametrize(("search", "factors"), list(itertools.product(SEARCHES, FACTORS)))
def test_details_add_up_to_the_score(
    client: Client, search: tuple[dict[str, Any], float], factors: dict[str, Any]
) -> None:
    asked, weights = search
    hits = client.memories.search(**asked, **factors, limit=100, explain=True).hits
    assert len(hits) > 50
    for hit in hits:
        assert math.isclose(hit.score, told(hit, weights), rel_tol=1e-9, abs_tol=1e-12), hit
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert any(hit.score_details.arms[-1].arm == "expansion" for hit in hits if hit.score_details) is (
        "text" in asked and factors.get("expansion") != 0.0
    )


@pytest.mark.parametrize("asked", [{"text": "alpha beta"}, {"vectors": {"a": VECTORS["a"]}}])
def test_the_score_of_one_arm_alone_is_the_arms(client: Client, asked: dict[str, Any]) -> None:
    for hit in client.memories.search(**asked, **OFF, explain=True).hits:
        assert hit.score_details is not None
        (arm,) = hit.score_details.arms
        assert hit.score == arm.raw


@pytest.mark.parametrize(("asked", "factors"), list(itertools.product([each for each, _ in SEARCHES], ({}, OFF))))
def test_no_result_has_less_than_the_least_score_and_none_with_more_is_left_out(
    client: Client, asked: dict[str, Any], factors: dict[str, Any]
) -> None:
    whole = client.memories.search(**asked, **factors, limit=200).hits
    for at in (0, len(whole) // 2, len(whole) - 1):
        least = whole[at].score
        if least <= 0:
            continue
        found = client.memories.search(**asked, **factors, limit=200, min_score=least).hits
        assert [hit.memory.memory_id for hit in found] == [hit.memory.memory_id for hit in whole if hit.score >= least]
        above = client.memories.search(**asked, **factors, limit=200, min_score=math.nextafter(least, math.inf)).hits
        assert [hit.memory.memory_id for hit in above] == [hit.memory.memory_id for hit in whole if hit.score > least]
