"""Messages of conversations searched in place: by words, through appends, deletions, kills and lost files."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator

import pytest

from recollectd.client import Client, NewMemory, NewMessage
from recollectd.client.results import MemoryHit
from recollectd.protocol import errors
from recollectd.testing import Daemon

WORDS = ("tea", "cake", "rain", "snow", "bicycle", "piano", "river", "letter")
AT = 1_700_000_000.0
HOUR = 3_600.0


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Daemon() as running:
        yield running


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with daemon.client() as made:
        view = made.with_namespace("acme", "agent")
        view.conversations.create("chat")
        yield view


def places(client: Client, text: str, **told: object) -> list[tuple[str | None, int]]:
    """Return where the messages are that a search finds by their own words."""
    found = client.memories.search(text, limit=1_000, among="messages", neighbours=0, turns=0, **told)  # type: ignore[arg-type]
    for hit in found.hits:
        assert hit.memory.kind == "message"
    return [(hit.memory.conversation_id, hit.memory.position) for hit in found.hits]


def said(client: Client) -> dict[tuple[str, int], str]:
    """Return every message by its place."""
    return {
        (each.conversation_id, position): message.content
        for each in client.conversations.list()
        for position, message in enumerate(client.conversations.history(each.conversation_id).messages)
    }


def by_position(hits: list[MemoryHit]) -> dict[int, tuple[float, float]]:
    """Return scores by place: the whole, and the arm's."""
    return {
        hit.memory.position: (hit.score, hit.score_details.arms[0].raw) for hit in hits if hit.score_details is not None
    }


def check(client: Client) -> None:
    """What is found is what is said, or was said within two messages of it: those texts are indexed with it."""
    there = said(client)
    for word in WORDS:
        near = {
            (name, position)
            for name, position in there
            if any(word in there.get((name, other), "").split() for other in range(position - 2, position + 3))
        }
        found = places(client, word)
        assert len(found) == len(set(found))
        assert set(found) == near, word
    assert client.memories.count() == 0


def speak(client: Client, rng: random.Random, count: int = 30) -> None:
    """Create conversations, append to them one by one and many at once, delete some."""
    for _ in range(count):
        name = f"c{rng.randrange(6)}"
        texts = [" ".join(rng.sample(WORDS, 2)) for _ in range(rng.choice((1, 1, 3, 9)))]
        if rng.random() < 0.15:
            client.conversations.delete(name)
            continue
        if client.conversations.info(name) is None:
            client.conversations.create(name)
        if len(texts) == 1:
            client.conversations.append(name, "user", texts[0])
        else:
            client.conversations.append_many(name, [NewMessage("assistant", text) for text in texts])


def test_messages_are_found_in_place_once_it_is_switched_on(daemon: Daemon, client: Client) -> None:
    client.conversations.append("chat", "user", "Where is my red bicycle?", message_id="m1", valid_at=AT)
    with pytest.raises(errors.InvalidArgument) as refused:
        client.memories.search("bicycle", among="messages")
    assert refused.value.field == "among"
    settings = client.memories.configure_search(messages=True)
    assert (settings.messages, settings.language) == (True, "english")
    (hit,) = client.memories.search("bicycles", among="messages", explain=True).hits
    found = hit.memory
    assert (found.memory_id, found.role, found.conversation_id, found.position) == ("m1", "user", "chat", 0)
    assert (found.text, found.kind) == ("Where is my red bicycle?", "message")
    assert found.valid_at is not None
    assert found.valid_at.startswith("2023-11-14")
    assert hit.highlights == [(16, 23)]
    client.conversations.append("chat", "assistant", "In the cellar.", valid_at=AT + 60)
    with daemon.client() as other:
        seen = other.with_namespace("acme", "agent")
        assert places(seen, "cellar") == [("chat", 1), ("chat", 0)]
        assert places(seen, "14 November 2023", filter='role == "assistant"') == [("chat", 1)]
        assert places(seen, "bicycle", as_of=AT + 30) == [("chat", 0)]
        assert seen.memories.search("bicycle").hits == []
        assert seen.with_namespace("acme", "agents").memories.search_settings().messages is False
        text = seen.memories.context("bicycle", tokens=100, limit=1, among="messages").text
        assert text == "[2023-11-14] Where is my red bicycle?\n[2023-11-14] In the cellar."
    assert client.memories.count() == 0, "nothing is stored twice"


def test_what_is_deleted_is_not_found_any_more_and_what_is_switched_off_neither(client: Client) -> None:
    client.memories.configure_search(messages=True)
    client.conversations.append("chat", "user", "the bicycle")
    client.conversations.create("other")
    client.conversations.append("other", "user", "another bicycle")
    assert set(places(client, "bicycle")) == {("chat", 0), ("other", 0)}
    client.conversations.delete("chat")
    assert places(client, "bicycle") == [("other", 0)]
    client.conversations.create("chat")
    client.conversations.append("chat", "user", "nothing of it")
    assert places(client, "bicycle") == [("other", 0)]
    assert client.memories.configure_search(messages=False).messages is False
    with pytest.raises(errors.InvalidArgument):
        places(client, "bicycle")
    client.conversations.delete("other")
    client.conversations.append("chat", "user", "piano")
    client.memories.configure_search(messages=True)
    assert places(client, "bicycle") == []
    assert places(client, "piano") == [("chat", 1), ("chat", 0)]


def test_they_score_as_memories_of_the_same_words_do(client: Client) -> None:
    rng = random.Random(3)
    beside = client.with_namespace("acme", "memories")
    client.memories.configure_search(messages=True)
    texts = [" ".join(rng.choices(WORDS, k=rng.randrange(2, 7))) for _ in range(40)]
    times = [AT + n * HOUR for n in range(len(texts))]
    for text, time in zip(texts, times, strict=True):
        client.conversations.append("chat", "user", text, valid_at=time)
    beside.memories.add_many(
        [NewMemory(text, conversation_id="chat", valid_at=time) for text, time in zip(texts, times, strict=True)]
    )
    client.memories.add("tea rain piano")  # which moves no message's score
    for query in ("tea", "rain piano", "river letter cake tea"):
        messages = client.memories.search(query, among="messages", limit=100, explain=True).hits
        memories = beside.memories.search(query, limit=100, explain=True).hits
        assert by_position(messages) == by_position(memories)


def test_both_are_one_ranking(client: Client) -> None:
    client.memories.configure_search(messages=True)
    client.memories.add("a piano in the river", memory_id="m")
    client.conversations.append("chat", "user", "a piano in the snow")
    found = client.memories.search("piano", among="both").hits
    assert {hit.memory.memory_id for hit in found if not hit.memory.role} == {"m"}
    assert {hit.memory.conversation_id for hit in found if hit.memory.role} == {"chat"}
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    with pytest.raises(errors.InvalidArgument):
        client.memories.search("piano", among="all")  # type: ignore[arg-type]
    with pytest.raises(errors.NotFound):
        client.memories.search("piano", among="messages", mode="vector", vectors={"s": [1]})


@pytest.mark.parametrize("seed", [1, 2])
def test_after_kills_and_with_lost_files_they_are_what_is_said(daemon: Daemon, seed: int) -> None:
    rng = random.Random(seed)
    for turn in range(6):
        with daemon.client() as made:
            view = made.with_namespace("acme", "agent")
            speak(view, rng)
            if not turn:
                view.memories.configure_search(messages=True)
            speak(view, rng)
            check(view)
            speak(view, rng)
        if turn % 3 == 2:
            daemon.stop()  # a checkpoint
            if turn == 5:
                shutil.rmtree(daemon.data / "keywords")
        else:
            daemon.kill()
        daemon.start()
        with daemon.client() as made:
            check(made.with_namespace("acme", "agent"))


def test_a_kill_while_they_are_indexed_loses_none(daemon: Daemon, client: Client) -> None:
    for number in range(20):
        client.conversations.create(f"long{number}")
        client.conversations.append_many(
            f"long{number}", [NewMessage("user", f"{WORDS[n % 8]} number{n}") for n in range(60)]
        )
    client.memories.configure_search(messages=True)
    daemon.kill()
    daemon.start()
    with daemon.client() as other:
        view = other.with_namespace("acme", "agent")
        check(view)
        assert view.memories.search_settings().indexing is False
        view.memories.configure_search(messages=False)
    daemon.kill()
    daemon.start()
    with daemon.client() as other:
        view = other.with_namespace("acme", "agent")
        view.conversations.delete("long3")
        view.memories.configure_search(messages=True)
        check(view)
