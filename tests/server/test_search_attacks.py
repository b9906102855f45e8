"""Searches that mean no good, against a running daemon: each is an answer or a refusal that names the field."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from recollectd.client import Client, NewMemory, NewMessage
from recollectd.client.results import MemoryHit
from recollectd.protocol import errors, limits
from recollectd.testing import Daemon

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
DIMENSIONS = 4
SPACE = "s"
OPERATORS = "\"'()[]{}<>=!&|^~*?+-:;,.\\/%$#@`\t\n\r\0\x7f\u200b\u202e\ufeff"
ARM_ALONE: dict[str, Any] = {"neighbours": 0.0, "speaker": 0.0, "expansion": 0.0, "turns": 0.0}


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as running:
        yield running


@pytest.fixture
def client(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[Client]:
    with daemon.client() as made:
        yield made.with_namespace("attacked", request.node.name)


def some(rng: random.Random, count: int) -> list[NewMemory]:
    return [
        NewMemory(
            " ".join(rng.choices(WORDS, k=rng.randint(1, 12))),
            f"m{number}",
            importance=rng.random(),
            conversation_id=f"c{number // 20}" if number % 2 else None,
            vectors={SPACE: [rng.gauss(0, 1) for _ in range(DIMENSIONS)]},
        )
        for number in range(count)
    ]


def filled(client: Client, memories: list[NewMemory]) -> Client:
    client.vector_spaces.create(SPACE, DIMENSIONS, precision="f32")
    for start in range(0, len(memories), 500):
        client.memories.add_many(memories[start : start + 500])
    return client


def searches(rng: random.Random) -> list[dict[str, Any]]:
    text, vectors = " ".join(rng.sample(WORDS, 2)), {SPACE: [rng.gauss(0, 1) for _ in range(DIMENSIONS)]}
    return [
        {"text": text},
        {"vectors": vectors},
        {"text": text, "vectors": vectors},
        {"text": text, "mode": "keyword", **ARM_ALONE},
        {"vectors": vectors, "neighbours": 0.0, "turns": 0.0},
        {"text": text, "vectors": vectors, "diversity": 0.6},
        {"text": text, "vectors": vectors, "importance_weight": 0.6, "filter": "importance > 0.2"},
    ]


def scored(client: Client, **asked: Any) -> list[tuple[str, float]]:
    return [(hit.memory.memory_id, hit.score) for hit in client.memories.search(**{"limit": 1_000, **asked}).hits]


def test_neighbours_of_any_name_and_size_move_no_score(client: Client) -> None:
    rng = random.Random(1)
    alone = filled(client.with_namespace("n", "acme"), some(rng, 40))
    asked = [search for _ in range(5) for search in searches(rng)]
    before = [scored(alone, **search) for search in asked]
    for labels in (("n",), ("n", "acme", "a"), ("n", "acme-corp"), ("n", "acm"), ("n", "acme\0")):
        filled(client.with_namespace(*labels), some(rng, 2_000))
    assert [scored(alone, **search) for search in asked] == before


@pytest.mark.parametrize("size", [80, 300])
def test_pages_are_the_whole_in_order_beyond_what_arms_look_at(client: Client, size: int) -> None:
    rng = random.Random(2)
    filled(client, some(rng, 1_200))
    for search in searches(rng):
        paged: list[tuple[str, float]] = []
        cursor = b""
        while True:
            page = client.memories.search(limit=size, cursor=cursor, **search)
            paged += [(hit.memory.memory_id, hit.score) for hit in page.hits]
            cursor = page.cursor
            if not cursor:
                break
        assert len({memory_id for memory_id, _ in paged}) == len(paged)
        assert paged == scored(client, **search)
        if "diversity" not in search:
            assert [score for _, score in paged] == sorted((score for _, score in paged), reverse=True)
        first = scored(client, limit=3, **search)
        assert first == paged[:3]


@pytest.mark.parametrize(
    "text",
    [
        "x" * 10_000,
        " ".join(WORDS * 2_000)[:10_000],
        OPERATORS,
        OPERATORS * 250,
        "\0",
        " ",
        "AND OR NOT NEAR/2 field:*",
        "\u0130" * 3_000,
        "a\u0301" * 3_000,
        " ".join(f"w{number}" for number in range(5_000)),
        "x" * limits.QUERY_BYTES_MAX,
    ],
)
def test_queries_of_any_length_and_signs_are_answered(client: Client, text: str) -> None:
    client.memories.add("alpha: a tale of w7", memory_id="m")
    for hit in client.memories.search(text, explain=True).hits:
        assert math.isfinite(hit.score)
    assert client.memories.context(text, tokens=100).tokens <= 100


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"text": "x" * (limits.QUERY_BYTES_MAX + 1)}, "text"),
        ({"text": "\ud800"}, "text"),
        ({"text": "x", "filter": 'kind == "\ud800"'}, "filter"),
        ({"vectors": {"\ud800": [1.0]}}, "vectors"),
        ({"text": "x", "filter": "importance > " + "9" * 5_000}, "filter"),
        ({"text": "x", "filter": "importance > 9e" + "9" * 5_000}, "filter"),
        ({"text": "x", "filter": "not " * 5_000 + "pinned == true"}, "filter"),
        ({"text": "x", "filter": "(" * 100 + "pinned == true" + ")" * 100}, "filter"),
        ({"text": "x", "filter": 'created_at > "2026-13-45"'}, "filter"),
        ({"text": "x", "filter": "\0"}, "filter"),
        ({"text": "x", "mode": "vector", "vectors": {SPACE: [1.0]}, "among": "messages"}, "among"),
        ({"text": "x", "mode": "vector", "vectors": {SPACE: [1.0]}, "among": "both"}, "among"),
        ({"vectors": {SPACE: [1.0]}, "among": "both"}, "among"),
        ({"text": "x", "limit": 0}, "limit"),
        ({"text": "x", "limit": 1_001}, "limit"),
        ({"text": "x", "min_score": math.nan}, "min_score"),
        ({"text": "x", "diversity": math.nan}, "diversity"),
        ({"text": "x", "importance_weight": math.inf}, "importance_weight"),
        ({"text": "x", "weights": {"keyword": math.nan}}, "weights['keyword']"),
        ({"text": "x", "weights": {"other": 1.0}}, "weights"),
        ({"text": "x", "as_of": math.nan}, "as_of"),
        ({"text": "x", "as_of": -1e12}, "as_of"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(client: Client, asked: dict[str, Any], field: str) -> None:
    with pytest.raises((errors.InvalidArgument, errors.TooLarge)) as refused:
        client.memories.search(**asked)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "vector",
    [
        [math.nan, 1, 1, 1],
        [math.inf, 1, 1, 1],
        [0, 0, 0, 0],
        [-0.0, 0, 0, 0],
        [1e-30] * 4,
        [1e30] * 4,
        [5e-324] * 4,
        [1] * 3,
        [1] * 5,
        [],
    ],
)
def test_vectors_that_are_none_are_refused_by_name(client: Client, vector: list[float]) -> None:
    client.vector_spaces.create(SPACE, DIMENSIONS)
    client.memories.add("alpha", memory_id="m")
    for call in (
        lambda: client.memories.search(vectors={SPACE: vector}),
        lambda: client.memories.add("beta", vectors={SPACE: vector}),
        lambda: client.vector_spaces.reembed(SPACE, lambda texts: [vector for _ in texts]),
    ):
        with pytest.raises(errors.InvalidArgument) as refused:
            call()
        assert refused.value.field
    assert [each.memory_id for each in client.memories.list(vectors=True) if not each.vectors] == ["m"]


def test_a_cursor_is_good_for_its_search_alone(client: Client) -> None:
    filled(client, some(random.Random(3), 50))
    cursor = client.memories.search("alpha", limit=2).cursor
    flipped = [
        bytes(byte ^ (1 << bit if index == at else 0) for index, byte in enumerate(cursor))
        for at in range(len(cursor))
        for bit in range(8)
    ]
    for bad in (b"x", cursor[:-1], cursor + b"x", *flipped):
        with pytest.raises((errors.InvalidCursor, errors.InvalidArgument, errors.TooLarge)):
            client.memories.search("alpha", limit=2, cursor=bad)
    for other in ({"text": "beta"}, {"text": "alpha", "filter": "pinned == false"}, {"text": "alpha", "hidden": True}):
        with pytest.raises(errors.InvalidCursor):
            client.memories.search(limit=2, cursor=cursor, **other)
    with pytest.raises(errors.InvalidCursor):
        client.with_namespace("elsewhere").memories.search("alpha", limit=2, cursor=cursor)


def test_of_a_chain_of_successors_only_the_last_is_found(client: Client) -> None:
    client.vector_spaces.create(SPACE, DIMENSIONS)
    names = [f"link{number}" for number in range(50)]
    client.memories.add_many([NewMemory(f"chain {name}", name, vectors={SPACE: [1, 0, 0, 1]}) for name in names])
    for one, other in pairwise(names):
        client.memories.supersede(one, other)
    client.memories.delete(names[30])
    for asked in ({"text": "chain"}, {"vectors": {SPACE: [1, 0, 0, 1]}}):
        assert [name for name, _ in scored(client, **asked)] == names[-1:]
        assert {name for name, _ in scored(client, hidden=True, **asked)} == {*names} - {names[30]}


def test_no_search_shows_what_was_deleted_before_it_began(daemon: Daemon, client: Client) -> None:
    count, deleters = 600, 3
    filled(
        client, [NewMemory("alpha", f"m{number}", vectors={SPACE: [1, number + 1, 0, 0]}) for number in range(count)]
    )
    gone: set[str] = set()

    def delete(which: int) -> None:
        with daemon.client() as made:
            memories = made.with_namespace(*client.namespace).memories
            for number in range(which, count // 2, deleters):
                memories.delete(f"m{number}")
                gone.add(f"m{number}")

    with ThreadPoolExecutor(deleters) as pool:
        deleting = [pool.submit(delete, which) for which in range(deleters)]
        while not all(each.done() for each in deleting):
            for asked in ({"text": "alpha"}, {"vectors": {SPACE: [1, 1, 0, 0]}}):
                before = set(gone)
                assert before.isdisjoint(name for name, _ in scored(client, hidden=True, **asked))
        for each in deleting:
            each.result()
    for asked in ({"text": "alpha", "mode": "keyword", **ARM_ALONE}, {"vectors": {SPACE: [1, 1, 0, 0]}}):
        assert {name for name, _ in scored(client, **asked)} == {f"m{number}" for number in range(count // 2, count)}


def test_pages_of_messages_are_the_whole_in_order(client: Client) -> None:
    rng = random.Random(4)
    filled(client, some(rng, 300))
    client.memories.configure_search(messages=True)
    for number in range(20):
        client.conversations.create(f"chat{number}")
        said = [
            NewMessage(
                "user",
                " ".join(rng.choices(WORDS, k=rng.randint(1, 6))),
                vectors={SPACE: [rng.gauss(0, 1) for _ in range(DIMENSIONS)]},
            )
            for _ in range(40)
        ]
        client.conversations.append_many(f"chat{number}", said)
    asked: list[dict[str, Any]] = [
        {"text": "alpha beta", "among": "messages"},
        {"text": "alpha beta", "among": "both"},
        {"text": "alpha", "among": "both", "vectors": {SPACE: [1, 2, 3, 4]}, "diversity": 0.5},
        {"vectors": {SPACE: [1, 2, 3, 4]}, "among": "messages", **ARM_ALONE},
        {"vectors": {SPACE: [1, 2, 3, 4]}, "among": "both"},
        {"text": "alpha", "among": "messages", "vectors": {SPACE: [1, 2, 3, 4]}},
    ]
    for search in asked:
        whole = client.memories.search(limit=1_000, **search).hits
        paged: list[MemoryHit] = []
        cursor = b""
        while True:
            page = client.memories.search(limit=80, cursor=cursor, **search)
            paged += page.hits
            cursor = page.cursor
            if not cursor:
                break
        assert paged == whole
        places = {(hit.memory.conversation_id, hit.memory.position, hit.memory.memory_id) for hit in paged}
        assert len(places) == len(paged) > 400


NASTY = ("", '"', "'", "\\", "a\0b", "\n", "🙂", "and", "x" * 2_000, "true", "null", "e\u0301", "\u202e", "$1", "a.b")
NUMBERS = (0, 1, -1, 2**53, 2**63 - 1, -(2**63), 2**64 - 1, 0.1, 1e308, -1e308, 1.0, -0.0, True, False, None)


def test_hostile_values_mean_the_same_in_every_arm(client: Client) -> None:
    rng = random.Random(5)
    values = (*NASTY, *NUMBERS)
    memories = [
        NewMemory(
            "common",
            f"m{number}",
            metadata={"v": rng.choice(values), "l": rng.sample(values, 3), "d": {"e": rng.choice(values)}},
            vectors={SPACE: [1, number + 1, 0, 0]},
        )
        for number in range(150)
    ]
    filled(client, memories)
    for value in values:
        literal = json.dumps(value, ensure_ascii=rng.random() < 0.5)
        for test in (
            f"metadata.v == {literal}",
            f"metadata.v in [{literal}, 7]",
            f"metadata.l contains {literal}",
            f"not (metadata.d.e != {literal})",
            f"metadata.v < {literal} or metadata.v >= {literal}",
        ):
            listed = {each.memory_id for each in client.memories.list(filter=test)}
            assert client.memories.count(filter=test) == len(listed)
            for asked in ({"text": "common"}, {"vectors": {SPACE: [1, 1, 0, 0]}}):
                assert {name for name, _ in scored(client, filter=test, **asked)} == listed, test
        equal = {each.memory_id for each in client.memories.list(filter=f"metadata.v == {literal}")}
        assert equal == {
            new.memory_id for new in memories if new.metadata is not None and _same(new.metadata["v"], value)
        }


def _same(one: object, other: object) -> bool:
    """Tell whether two values are equal as filters have it: a truth is no number."""
    return one == other and isinstance(one, bool) is isinstance(other, bool)
