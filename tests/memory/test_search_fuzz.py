"""Searches and contexts of any content: each is an answer that holds, or a refusal that names a field."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from memory.asking import NS, add, create, memory, message, say, space, vector
from memory.followed import Followed
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages import vector_spaces
from recollectd.protocol.messages.search_settings import SearchConfigure

WORDS = ("tea", "cake", "rain", "Ada", "oboe", "May 2023", "2023")
HOUR = 3_600_000_000

shares = st.floats(0, 1)
words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
VECTORS = ({"one": vector(1, 2)}, {"now": vector(3, -1)}, {"one": vector(0, 1), "two": vector(1, 2, 3)})
FILTERS = ("", "pinned == true", "metadata.n < 3", 'text contains "tea"', "importance exists", 'role == "user"')
FINE: dict[str, st.SearchStrategy[Any]] = {
    "vectors": st.none() | st.sampled_from(VECTORS),
    "weights": st.none() | st.fixed_dictionaries({"keyword": st.floats(0.01, 9)}),
    "filter": st.sampled_from(FILTERS),
    "limit": st.integers(1, 30),
    "mode": st.sampled_from(["", "keyword"]),
    "as_of": st.none() | st.sampled_from([0, 5 * HOUR, -HOUR, limits.TIME_US_MAX]),
    "min_score": st.floats(-1, 1),
    "hidden": st.booleans(),
    "exact": st.booleans(),
    "explain": st.booleans(),
    "recency_half_life_us": st.integers(0, limits.TIME_US_MAX),
    "importance_weight": shares,
    "diversity": shares,
    "neighbours": shares,
    "speaker": shares,
    "expansion": shares,
    "turns": shares,
    "access_weight": shares,
    "access_half_life_us": st.integers(0, limits.TIME_US_MAX),
    "among": st.sampled_from(["memories", "memories", "messages", "both"]),
    "effort": st.integers(0, limits.VECTOR_EFFORT_MAX),
}
numbers = st.floats() | st.sampled_from([-0.0, 1e308, 5e-324])
names = st.sampled_from(["one", "two", "now", "none", "keyword", ""]) | st.text(max_size=5)
components = st.lists(st.sampled_from([0.0, 1.0, -2.5, 1e30, math.nan, math.inf]), max_size=4).map(
    lambda floats: struct.pack(f"<{len(floats)}f", *floats)
)
whole = st.integers(-(1 << 63), (1 << 64) - 1) | st.sampled_from([0, 1, -1])
WILD: dict[str, st.SearchStrategy[Any]] = {
    **{name: numbers for name in FINE if name == "min_score" or FINE[name] is shares},
    **dict.fromkeys(("limit", "as_of", "recency_half_life_us", "access_half_life_us", "effort"), whole),
    "text": st.text(max_size=30) | st.sampled_from(["", " ", "\0", '"', "the"]),
    "vectors": st.dictionaries(names, st.sampled_from([vector(1, 2), vector(1, 2, 3)]) | components, max_size=3),
    "weights": st.dictionaries(names, numbers, max_size=3),
    "filter": st.text(max_size=20)
    | st.lists(st.sampled_from(["()", "not", "and", "or", "==", "metadata", "1"])).map(" ".join),
    "mode": st.sampled_from(["vector", "hybrid", "other"]),
    "cursor": st.binary(max_size=40),
    "among": st.just("all"),
    "records": st.just(False),
}
fine = st.fixed_dictionaries({"text": words}, optional=FINE)
one_wild = st.one_of(*(st.fixed_dictionaries({name: wild}) for name, wild in WILD.items()))
searches = fine | st.builds(lambda told, wild: {**told, **wild}, fine, one_wild)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    made = Followed(Path(tmp_path_factory.mktemp("views")))
    rng = random.Random(1)
    made.write(
        space("one"), space("two", 3), vector_spaces.SpaceAlias(NS, "now", "one"), SearchConfigure(NS, messages=True)
    )
    for number in range(60):
        told: dict[str, Any] = {
            "metadata": {"n": rng.randrange(6)},
            "importance": rng.choice((None, rng.random())),
            "pinned": rng.random() < 0.3,
            "valid_at": rng.choice((None, -HOUR, number * HOUR)),
            "conversation_id": rng.choice((None, "c")),
            "vectors": rng.choice(
                (None, {"one": vector(1, number)}, {"one": vector(2, 1), "two": vector(1, 2, number)})
            ),
        }
        made.write(add(memory(" ".join(rng.choices(WORDS, k=4)), f"m{number}", **told)))
    made.write(create("chat"), say("chat", *(message(f"tea {number} cake") for number in range(10))))
    made.write(
        messages.MemoryForget(NS, "m1"), messages.MemorySupersede(NS, "m2", "m3"), messages.MemoryDelete(NS, "m4")
    )
    while made.index_anew():
        made.follow()
    yield made
    made.views.close()


def asked(followed: Followed, request: Any) -> Any:
    """Return the reply, or None where the request is refused."""
    view = followed.store.view()
    view.memories = followed.views
    try:
        return followed.store.read(request, view=view)
    except errors.RequestError as error:
        if not error.field:
            raise
        return None


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=searches)
def test_a_search_is_answered_or_refused_by_name(followed: Followed, told: dict[str, Any]) -> None:
    request = messages.MemorySearch(NS, **told)
    reply = asked(followed, request)
    if reply is None:
        return
    if not request.records:
        assert len(set(reply.memory_ids)) == len(reply.memory_ids) == len(reply.scores) <= request.limit
        assert all(map(math.isfinite, reply.scores))
        return
    scores = [result.score for result in reply.results]
    places = [(result.memory.role, result.memory.memory_id) for result in reply.results]
    assert len(set(places)) == len(places) <= request.limit
    assert all(map(math.isfinite, scores))
    if not request.diversity:
        assert scores == sorted(scores, reverse=True)
    if request.min_score > 0:
        assert all(score >= request.min_score for score in scores)
    for result in reply.results:
        found = result.memory
        assert found.memory_id != "m4"
        assert request.hidden or request.as_of is not None or found.memory_id not in ("m1", "m2")
        if request.as_of is not None:
            assert (found.created_at if found.valid_at is None else found.valid_at) <= request.as_of
        assert bool(result.details) is request.explain
    if reply.cursor:
        more = asked(followed, structs.replace(request, cursor=reply.cursor))
        assert not {(result.memory.role, result.memory.memory_id) for result in more.results} & set(places)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=searches, tokens=st.integers(-1, 300) | st.just(262_144), beside=st.integers(-1, 9))
def test_a_context_is_answered_or_refused_by_name(
    followed: Followed, told: dict[str, Any], tokens: int, beside: int
) -> None:
    reply = asked(followed, messages.MemoryContext(messages.MemorySearch(NS, **told), tokens, beside))
    if reply is not None:
        assert reply.tokens <= tokens
        assert len(reply.text) <= 4 * tokens
        assert len(reply.text.splitlines()) >= len(reply.memory_ids) == len(set(reply.memory_ids))
