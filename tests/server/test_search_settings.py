"""The analysis of a namespace's texts: set by an operation, what was indexed before is indexed anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recollectd.client import Client, NewMemory
from recollectd.protocol import errors
from recollectd.testing import Daemon

TEXTS = {
    "houses": "Die Häuser sind alt",
    "house": "Das Haus ist neu",
    "running": "She was running home",
    "run": "a run in the park",
}


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Daemon() as running:
        yield running


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with daemon.client() as made:
        view = made.with_namespace("acme", "agent")
        view.memories.add_many([NewMemory(text, name) for name, text in TEXTS.items()])
        yield view


def ids(client: Client, text: str, **told: object) -> set[str]:
    return {hit.memory.memory_id for hit in client.memories.search(text, **told).hits}  # type: ignore[arg-type]


def test_the_default_is_english(client: Client) -> None:
    settings = client.memories.search_settings()
    assert (settings.language, settings.stemming, settings.stop_words) == ("english", True, True)
    assert ids(client, "runs") == {"running", "run"}
    assert ids(client, "Haus") == {"house"}
    assert ids(client, "the") == set()


def test_a_language_changes_what_is_one_word_and_what_says_nothing(client: Client) -> None:
    assert client.memories.configure_search(language="german").language == "german"
    assert ids(client, "Haus") == {"houses", "house"}
    assert ids(client, "das") == set()
    assert ids(client, "the") == {"run"}
    assert ids(client, "running") == {"running"}
    assert client.memories.search("Haus", explain=True).hits[0].highlights
    client.memories.add("Ein Häuschen, und Häuser", memory_id="more")
    assert ids(client, "Haus") == {"houses", "house", "more"}
    client.memories.configure_search(language="english")
    assert ids(client, "running") == {"running", "run"}


def test_stemming_and_stop_words_can_be_left_out(client: Client) -> None:
    client.memories.configure_search(stemming=False)
    assert ids(client, "runs") == set()
    assert ids(client, "running") == {"running"}
    client.memories.configure_search(stop_words=False)
    assert ids(client, "the") == {"run"}
    settings = client.memories.configure_search(language="none", stemming=True, stop_words=True)
    assert settings.language == "none"
    assert ids(client, "the") == {"run"}
    assert ids(client, "runs") == set()
    assert ids(client, "HÄUSER") == {"houses"}
    assert client.with_namespace("acme").memories.search_settings().language == "english"


def test_an_unknown_language_is_refused(client: Client) -> None:
    for language in ("klingon", ""):
        with pytest.raises(errors.InvalidArgument) as refused:
            client.memories.configure_search(language=language)
        assert refused.value.field == "language"
    assert client.memories.search_settings().language == "english"


def test_it_takes_part_in_transactions(client: Client) -> None:
    def both(transaction: Client) -> None:
        transaction.memories.configure_search(language="german")
        transaction.memories.add("Die Häuser", memory_id="t")

    client.transact(both)  # type: ignore[arg-type]
    assert ids(client, "Haus") == {"houses", "house", "t"}


def test_scores_are_those_of_a_namespace_that_was_always_so(client: Client) -> None:
    other = client.with_namespace("acme", "other")
    other.memories.configure_search(language="german", stop_words=False)
    other.memories.add_many([NewMemory(text, name) for name, text in TEXTS.items()])
    client.memories.configure_search(language="german", stop_words=False)
    for query in ("Haus", "die", "park home"):
        ours, theirs = (view.memories.search(query, explain=True).hits for view in (client, other))
        assert [(hit.memory.memory_id, hit.score) for hit in ours] == [
            (hit.memory.memory_id, hit.score) for hit in theirs
        ]


def test_a_kill_in_the_middle_leaves_nothing_as_it_was(daemon: Daemon, client: Client) -> None:
    names = {f"m{n:04}" for n in range(2_000)}
    client.memories.add_many([NewMemory("alte Häuser", name) for name in sorted(names)])
    client.memories.configure_search(language="german")
    daemon.kill()
    daemon.start()
    with daemon.client() as other:
        view = other.with_namespace("acme", "agent")
        assert ids(view, "Haus", limit=1_000, filter='memory_id < "m0500"') >= {f"m{n:04}" for n in range(500)}
        found = set[str]()
        for start in range(0, 2_000, 500):
            filter = f'memory_id >= "m{start:04}" and memory_id < "m{start + 500:04}"'
            found |= ids(view, "Haus", limit=1_000, filter=filter)
        assert found == names
        assert view.memories.search_settings().indexing is False
    daemon.stop()
    daemon.start()
    with daemon.client() as other:
        assert ids(other.with_namespace("acme", "agent"), "Haus", limit=1_000, filter='memory_id > "m1900"')
