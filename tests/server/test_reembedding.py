"""Memories moved into another vector space in a running daemon: kills, what is added meanwhile, what searches see."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from recollectd.client import Client, NewMemory, NewMessage
from recollectd.protocol import errors
from recollectd.testing import Daemon
from support.waiting import until

COUNT = 500
WIDE = 3


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Daemon() as running:
        with running.client() as client:
            client.vector_spaces.create("v1", 2, precision="f32")
            client.vector_spaces.alias("now", "v1")
            client.memories.add_many(
                [NewMemory(f"memory {n}", f"m{n:04}", vectors={"now": [1.0, n + 1.0]}) for n in range(COUNT)]
            )
            client.vector_spaces.create("v2", WIDE, precision="f32")
        yield running


def embed(texts: list[str]) -> list[list[float]]:
    return [[1.0, 2.0, float(text.split()[1]) + 1] for text in texts]


def in_space(client: Client, name: str, *query: float) -> dict[str, float]:
    found = client.memories.search(vectors={name: list(query)}, limit=1_000, exact=True, explain=True)
    return {hit.memory.memory_id: hit.score_details.arms[0].raw for hit in found.hits if hit.score_details is not None}


def check(client: Client, names: set[str]) -> None:
    """Every memory has one vector in the new space, made from its text, and each is found there once."""
    there = {each.memory_id: each for each in client.memories.list(vectors=True)}
    assert set(there) == names
    for each in there.values():
        assert each.vectors is not None
        assert each.vectors["v2"] == embed([each.text])[0]
        assert each.version == 1
    assert client.memories.count(lacking="v2") == 0
    hits = client.memories.search(vectors={"v2": [1, 2, 3]}, limit=1_000, exact=True).hits
    assert sorted(hit.memory.memory_id for hit in hits) == sorted(names)


def test_a_daemon_killed_in_the_middle_goes_on_where_it_was(daemon: Daemon) -> None:
    batches: list[list[str]] = []

    def killing(texts: list[str]) -> list[list[float]]:
        batches.append(texts)
        if len(batches) in (3, 6):
            daemon.kill()
        return embed(texts)

    for _ in range(2):
        with daemon.client() as client, pytest.raises(errors.RecollectdError):
            client.with_options(timeout=0.1).vector_spaces.reembed("v2", killing, alias="now")
        daemon.start()
        with daemon.client() as client:
            assert 0 < client.memories.count(lacking="v2") < COUNT
            assert len(in_space(client, "now", 1, 2)) == COUNT  # the old space, whole
    with daemon.client() as client:
        left = client.memories.count(lacking="v2")
        assert client.vector_spaces.reembed("v2", killing, alias="now") == left
        assert sum(map(len, batches)) < COUNT + 3 * 64, "what was stored is not embedded again"
        check(client, {f"m{n:04}" for n in range(COUNT)})
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        check(client, {f"m{n:04}" for n in range(COUNT)})
        assert client.vector_spaces.drop("v1") is True
        until(lambda: client.status()["views"]["memories"]["vectors"]["spaces"] == 1)
        check(client, {f"m{n:04}" for n in range(COUNT)})
        with pytest.raises(errors.NotFound):
            in_space(client, "v1", 1, 2)


def test_searches_under_the_alias_never_see_half_a_space(daemon: Daemon) -> None:
    added = iter(range(COUNT, COUNT + 3))
    with daemon.client() as client, daemon.client() as other:

        def embed_and_look(texts: list[str]) -> list[list[float]]:
            assert len(in_space(other, "now", 1, 2)) >= COUNT
            new = next(added, None)
            if new is not None:
                other.memories.add(f"memory {new}", memory_id=f"m{new:04}", vectors={"now": [1, 2]})
            return embed(texts)

        assert client.vector_spaces.reembed("v2", embed_and_look, alias="now") == COUNT + 3
        assert len(in_space(other, "now", 1, 2, 3)) == COUNT + 3
        check(client, {f"m{n:04}" for n in range(COUNT + 3)})


PROGRAM = """
import sys
from recollectd.client import Client

def embed(texts):
    print(len(texts), flush=True)
    sys.stdin.readline()
    return [[1.0, 2.0, float(text.split()[1]) + 1] for text in texts]

with Client(sys.argv[1]) as client:
    print(client.vector_spaces.reembed("v2", embed, alias="now"), flush=True)
"""


def test_a_client_killed_in_the_middle_is_followed_by_another(daemon: Daemon) -> None:
    program = [sys.executable, "-c", PROGRAM, daemon.url]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "64\n"
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "64\n"  # the first are stored
        os.kill(process.pid, signal.SIGKILL)
    with daemon.client() as client:
        assert client.memories.count(lacking="v2") == COUNT - 64
        assert client.vector_spaces.reembed("v2", embed, alias="now") == COUNT - 64
        check(client, {f"m{n:04}" for n in range(COUNT)})
        assert json.dumps([each.alias_of for each in client.vector_spaces.list() if each.name == "now"]) == '["v2"]'


def test_messages_that_are_searched_move_with_the_memories(daemon: Daemon) -> None:
    batches: list[list[str]] = []
    told: list[tuple[int, int]] = []
    more = iter(["message 900", "message 901"])

    def killing(texts: list[str]) -> list[list[float]]:
        batches.append(texts)
        if len(batches) in (9, 11):
            daemon.kill()
        return embed(texts)

    with daemon.client() as client, daemon.client() as other:
        client.memories.configure_search(messages=True)
        for name in ("a", "b"):
            client.conversations.create(name)
            new = [NewMessage("user", f"message {n}", vectors={"now": [1.0, n + 1.0]}) for n in range(100)]
            client.conversations.append_many(name, new)
        client.conversations.append("b", "user", "message 200")
    for _ in range(2):
        with daemon.client() as client, pytest.raises(errors.RecollectdError):
            client.with_options(timeout=0.1).vector_spaces.reembed("v2", killing, alias="now")
        daemon.start()
    with daemon.client() as client, daemon.client() as other:
        assert client.memories.count(lacking="v2") == 0

        def embed_and_say(texts: list[str]) -> list[list[float]]:
            new = next(more, None)
            if new is not None:
                other.conversations.append("a", "assistant", new)
            return embed(texts)

        left = 201 - 64
        done = client.vector_spaces.reembed(
            "v2", embed_and_say, alias="now", progress=lambda *so_far: told.append(so_far)
        )
        assert done == left + 2
        assert told[0] == (0, left)
        assert told[-1] == (left + 2, left + 2)
        messages = {
            (name, each.content): each.vectors
            for name in ("a", "b")
            for each in client.conversations.iterate(name, vectors=True)
        }
        assert len(messages) == 203
        assert all(
            vectors is not None and vectors["v2"] == embed([content])[0] for (_, content), vectors in messages.items()
        )
        hits = client.memories.search(vectors={"now": [1, 2, 3]}, limit=1_000, exact=True, among="messages").hits
        assert {(hit.memory.conversation_id, hit.memory.text) for hit in hits} == set(messages)
        assert client.vector_spaces.drop("v1") is True
        assert client.vector_spaces.reembed("v2", embed) == 0


def test_an_alias_is_not_switched_while_a_message_lacks_its_vector(daemon: Daemon) -> None:
    with daemon.client() as client, daemon.client() as other:
        client.conversations.create("c")
        said = iter(range(3))

        def embed_and_say(texts: list[str]) -> list[list[float]]:
            assert len(in_space(other, "now", 1, 2)) == COUNT
            number = next(said, None)
            if number == 0:
                other.memories.configure_search(messages=True)
            if number is not None:
                other.conversations.append("c", "user", f"message {number}")
            return embed(texts)

        assert client.vector_spaces.reembed("v2", embed_and_say, alias="now") == COUNT + 3
        hits = client.memories.search(vectors={"now": [1, 2, 3]}, limit=10, among="messages").hits
        assert {hit.memory.text for hit in hits} == {"message 0", "message 1", "message 2"}
