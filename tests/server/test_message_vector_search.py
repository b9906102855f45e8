"""Messages of conversations searched by vectors, alone and with words: as memories are, through kills and erasing."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator
from typing import Any, Final

import pytest

from recollectd.client import Client, NewMemory, NewMessage
from recollectd.client.results import MemoryHit, Message
from recollectd.protocol import errors
from recollectd.testing import Daemon
from support.waiting import until

WORDS: Final = ("tea", "cake", "rain", "snow", "bicycle", "piano", "river", "letter")
AT: Final = 1_700_000_000.0
HOUR: Final = 3_600.0
SPACE: Final = "mini"
DIMENSIONS: Final = 8
ARM_ALONE: Final[dict[str, Any]] = {"neighbours": 0.0, "speaker": 0.0, "expansion": 0.0, "turns": 0.0}

Vector = list[float]


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Daemon() as running:
        yield running


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with daemon.client() as made:
        view = made.with_namespace("acme", "agent")
        view.conversations.create("chat")
        view.vector_spaces.create(SPACE, DIMENSIONS, precision="f32")
        view.memories.configure_search(messages=True)
        yield view


def some_vector(rng: random.Random) -> Vector:
    return [rng.gauss(0, 1) for _ in range(DIMENSIONS)]


def axis(number: int) -> Vector:
    return [1.0 if n == number else 0.0 for n in range(DIMENSIONS)]


def cosine(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def said(client: Client) -> dict[tuple[str, int], Message]:
    """Return every message by its place, with its vectors."""
    return {
        (each.conversation_id, position): message
        for each in client.conversations.list()
        for position, message in enumerate(client.conversations.iterate(each.conversation_id, vectors=True))
    }


def by_place(hits: list[MemoryHit]) -> dict[tuple[str | None, int], float]:
    found = {(hit.memory.conversation_id, hit.memory.position): hit.score for hit in hits}
    assert len(found) == len(hits)
    return found


def check(client: Client, rng: random.Random, **told: Any) -> None:
    """What is found by a vector is what has one, with the cosine as its score."""
    query = some_vector(rng)
    hits = client.memories.search(vectors={SPACE: query}, limit=1_000, among="messages", **ARM_ALONE, **told).hits
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    wanted = {
        place: cosine(message.vectors[SPACE], query)
        for place, message in said(client).items()
        if message.vectors is not None
    }
    assert by_place(hits) == pytest.approx(wanted, abs=1e-5)


def speak(client: Client, rng: random.Random, count: int = 20) -> None:
    """Create conversations, append to them one by one and many at once, with and without vectors, delete some."""
    for _ in range(count):
        name = f"c{rng.randrange(6)}"
        if rng.random() < 0.15:
            client.conversations.delete(name)
            continue
        if client.conversations.info(name) is None:
            client.conversations.create(name)
        new = [
            NewMessage("user", rng.choice(WORDS), vectors=rng.choice((None, {SPACE: some_vector(rng)})))
            for _ in range(rng.choice((1, 1, 3, 9)))
        ]
        if len(new) == 1:
            client.conversations.append(name, "user", new[0].content, vectors=new[0].vectors)
        else:
            client.conversations.append_many(name, new)


def test_messages_are_found_by_their_vectors(daemon: Daemon, client: Client) -> None:
    client.conversations.append("chat", "user", "Where is it?", message_id="m1", valid_at=AT, vectors={SPACE: axis(0)})
    client.conversations.append("chat", "assistant", "In the cellar.", valid_at=AT + 60, vectors={SPACE: axis(1)})
    client.conversations.append("chat", "user", "Thanks.", valid_at=AT + 90)
    with daemon.client() as other:
        seen = other.with_namespace("acme", "agent").memories
        asked: dict[str, Any] = {"vectors": {SPACE: axis(0)}, "among": "messages", **ARM_ALONE}
        first, second = seen.search(explain=True, **asked).hits
        found = first.memory
        assert (found.memory_id, found.role, found.conversation_id, found.position) == ("m1", "user", "chat", 0)
        assert [first.score, second.score] == pytest.approx([1.0, 0.0])
        assert first.score_details is not None
        (detail,) = first.score_details.arms
        assert (detail.arm, detail.rank, detail.weight) == (SPACE, 1, 1.0)
        assert detail.raw == first.score
        assert [hit.memory.position for hit in seen.search(filter='role == "assistant"', **asked).hits] == [1]
        assert [hit.memory.position for hit in seen.search(as_of=AT + 30, **asked).hits] == [0]
        assert [hit.memory.position for hit in seen.search(min_score=0.5, **asked).hits] == [0]
        assert [hit.memory.position for hit in seen.search(exact=True, limit=1, **asked).hits] == [0]
        assert seen.search(vectors={SPACE: axis(0)}).hits == [], "they are no memories"
        text = seen.context(tokens=100, limit=1, beside=0, among="messages", vectors={SPACE: axis(1)}).text
        assert text == "[2023-11-14] In the cellar."


def test_what_is_not_there_is_refused_by_name(client: Client) -> None:
    client.conversations.append("chat", "user", "x", vectors={SPACE: axis(0)})
    refused: list[tuple[dict[str, Any], type[errors.RecollectdError], str]] = [
        ({"vectors": {"no": axis(0)}}, errors.NotFound, "vectors['no']"),
        ({"vectors": {SPACE: [1.0]}}, errors.InvalidArgument, f"vectors['{SPACE}']"),
        ({"vectors": {SPACE: [0.0] * DIMENSIONS}}, errors.InvalidArgument, f"vectors['{SPACE}']"),
        ({"mode": "vector", "text": "x"}, errors.InvalidArgument, "vectors"),
        ({"mode": "hybrid", "text": "x"}, errors.InvalidArgument, "vectors"),
    ]
    for asked, error, field in refused:
        for among in ("messages", "both"):
            with pytest.raises(error) as raised:
                client.memories.search(among=among, **asked)
            assert raised.value.field == field
    for vectors in ({"no": axis(0)}, {SPACE: [1.0]}, {SPACE: [math.nan] * DIMENSIONS}, {SPACE: [0.0] * DIMENSIONS}):
        with pytest.raises(errors.RecollectdError) as raised:
            client.conversations.append("chat", "user", "y", vectors=vectors)
        assert raised.value.field.startswith("messages[0].vectors[")
    assert client.conversations.history("chat").total_messages == 1
    beside = client.with_namespace("acme", "silent")
    beside.vector_spaces.create(SPACE, DIMENSIONS)
    with pytest.raises(errors.InvalidArgument) as raised:
        beside.memories.search(vectors={SPACE: axis(0)}, among="messages")
    assert raised.value.field == "among"


def test_they_score_as_memories_of_the_same_words_and_vectors_do(client: Client) -> None:
    rng = random.Random(3)
    beside = client.with_namespace("acme", "memories")
    beside.vector_spaces.create(SPACE, DIMENSIONS, precision="f32")
    texts = [" ".join(rng.choices(WORDS, k=rng.randrange(2, 7))) for _ in range(60)]
    made = [{SPACE: some_vector(rng)} for _ in texts]
    times = [AT + n * HOUR for n in range(len(texts))]
    for text, time, vectors in zip(texts, times, made, strict=True):
        client.conversations.append("chat", "user", text, valid_at=time, vectors=vectors)
    beside.memories.add_many(
        [
            NewMemory(text, f"{n:04}", conversation_id="chat", valid_at=time, vectors=vectors)
            for n, (text, time, vectors) in enumerate(zip(texts, times, made, strict=True))
        ]
    )
    client.memories.add("tea rain piano", vectors={SPACE: some_vector(rng)})  # which moves no message's score
    searches: list[dict[str, Any]] = [
        {"text": "tea"},
        {"vectors": {SPACE: some_vector(rng)}},
        {"vectors": {SPACE: some_vector(rng)}, **ARM_ALONE},
        {"text": "rain piano", "vectors": {SPACE: some_vector(rng)}},
        {"text": "rain piano", "vectors": {SPACE: some_vector(rng)}, "weights": {"keyword": 1.0, SPACE: 5.0}},
        {"text": "river cake", "vectors": {SPACE: some_vector(rng)}, "diversity": 0.4},
        {"text": "river", "vectors": {SPACE: some_vector(rng)}, "recency_half_life": HOUR, "as_of": AT + 99 * HOUR},
        {"text": "river", "vectors": {SPACE: some_vector(rng)}, "mode": "vector", "neighbours": 0.5},
        {"text": "river", "vectors": {SPACE: some_vector(rng)}, "as_of": AT + 30 * HOUR},
        {"text": "tea", "vectors": {SPACE: some_vector(rng)}, "filter": 'valid_at > "2023-11-16"', "min_score": 0.3},
    ]
    for asked in searches:
        messages = client.memories.search(among="messages", limit=100, explain=True, **asked).hits
        memories = beside.memories.search(limit=100, explain=True, **asked).hits
        assert len(messages) > 5
        assert [(hit.memory.position, hit.score) for hit in messages] == [
            (hit.memory.position, hit.score) for hit in memories
        ]
        assert [hit.score_details for hit in messages] == [hit.score_details for hit in memories]


def test_without_any_vectors_words_decide_alone(client: Client) -> None:
    rng = random.Random(4)
    client.conversations.append_many("chat", [NewMessage("user", rng.choice(WORDS)) for _ in range(30)])
    by_words = client.memories.search("tea rain", among="messages", limit=100).hits
    assert client.memories.search("tea rain", vectors={SPACE: axis(0)}, among="messages", limit=100).hits == by_words
    assert client.memories.search("tea", vectors={SPACE: axis(0)}, mode="vector", among="messages").hits == []


def test_both_are_one_ranking_of_vectors(client: Client) -> None:
    client.memories.add("a memory", memory_id="m", vectors={SPACE: axis(0)})
    client.conversations.append("chat", "user", "near it", vectors={SPACE: [1.0, 0.1, *axis(0)[2:]]})
    client.conversations.append("chat", "user", "far", vectors={SPACE: axis(3)})
    found = client.memories.search(vectors={SPACE: axis(0)}, among="both", **ARM_ALONE).hits
    assert [hit.memory.text for hit in found] == ["a memory", "near it", "far"]
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    hybrid = client.memories.search("memory near", vectors={SPACE: axis(0)}, among="both").hits
    assert {hit.memory.text for hit in hybrid[:2]} == {"a memory", "near it"}


def test_many_are_found_approximately_and_exactly_by_strict_filters_and_pages(client: Client) -> None:
    rng = random.Random(5)
    client.conversations.create("long")
    for start in range(0, 3_000, 500):
        new = [
            NewMessage("user", "x", metadata={"n": start + n}, vectors={SPACE: some_vector(rng)}) for n in range(500)
        ]
        client.conversations.append_many("long", new)
    query = some_vector(rng)
    asked: dict[str, Any] = {"vectors": {SPACE: query}, "among": "messages", **ARM_ALONE}
    truth = sorted((-cosine(each.vectors[SPACE], query), at) for at, each in said(client).items() if each.vectors)
    best = [at for _, at in truth]
    exact = client.memories.search(exact=True, limit=1_000, **asked).hits
    assert [*by_place(exact)] == best[:1_000]
    assert {*by_place(client.memories.search(limit=10, **asked).hits)} == set(best[:10])
    strict = client.memories.search(filter="metadata.n >= 2990", limit=20, **asked).hits
    assert [*by_place(strict)] == [at for at in best if at[0] == "long" and at[1] >= 2_990]
    paged: list[MemoryHit] = []
    cursor = b""
    while True:
        page = client.memories.search(limit=90, cursor=cursor, **asked)
        paged += page.hits
        if not (cursor := page.cursor):
            break
    assert [*by_place(paged)] == best[:1_000]


@pytest.mark.parametrize("seed", [1, 2])
def test_through_kills_and_lost_files_they_are_what_is_there(daemon: Daemon, seed: int) -> None:
    rng = random.Random(seed)
    with daemon.client() as made:
        view = made.with_namespace("acme", "agent")
        view.vector_spaces.create(SPACE, DIMENSIONS, precision="f32")
    for turn in range(6):
        with daemon.client() as made:
            view = made.with_namespace("acme", "agent")
            speak(view, rng)
            if turn in (0, 2):
                view.memories.configure_search(messages=True)
            check(view, rng)
            speak(view, rng)
            if turn == 1:
                view.memories.configure_search(messages=False)
                speak(view, rng)
            if turn == 3:
                view.vector_spaces.drop(SPACE)
                view.vector_spaces.create(SPACE, DIMENSIONS, precision="f32")
                speak(view, rng)
        if turn % 3 == 2:
            daemon.stop()  # a checkpoint
            if turn == 5:
                manifest = daemon.data / "vectors" / "MANIFEST"
                manifest.write_bytes(manifest.read_bytes()[:-1] + b"?")
        else:
            daemon.kill()
        daemon.start()
        if turn != 1:
            with daemon.client() as made:
                check(made.with_namespace("acme", "agent"), rng)


def holds(daemon: Daemon, components: bytes) -> list[str]:
    """Return the files of the vector view that hold some bytes."""
    files = (path for path in (daemon.data / "vectors").rglob("*") if path.is_file())
    return [path.name for path in files if components in path.read_bytes()]


@pytest.mark.parametrize("how", ["deleted", "dropped", "off"])
def test_what_is_gone_is_found_by_nobody_and_in_no_file(daemon: Daemon, client: Client, how: str) -> None:
    secret = [0.125 * n + 0.3 for n in range(DIMENSIONS)]
    # Cosine spaces keep vectors with a length of one.
    kept = struct.pack(f"<{DIMENSIONS}f", *(n / math.hypot(*secret) for n in secret))[:8]
    client.conversations.append("chat", "user", "secret", vectors={SPACE: secret})
    client.conversations.create("other")
    client.conversations.append("other", "user", "public", vectors={SPACE: axis(1)})
    daemon.stop()
    daemon.start()
    assert holds(daemon, kept) != []
    if how == "deleted":
        client.conversations.delete("chat")
        assert [*by_place(client.memories.search(vectors={SPACE: secret}, among="messages").hits)] == [("other", 0)]
    elif how == "dropped":
        client.vector_spaces.drop(SPACE)
    else:
        client.memories.configure_search(messages=False)
        until(lambda: not client.memories.search_settings().indexing)
    client.erase()
    until(lambda: client.erase(start=False).done)
    assert holds(daemon, kept) == []
