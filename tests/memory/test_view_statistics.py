"""Scores depend on the records alone: a keyword view that followed every change counts what one made anew counts."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import pytest

from memory.asking import NS, add, create, memory, message, say, transaction
from memory.followed import Followed
from recollectd.memory.memories import rebuilding, said
from recollectd.memory.memories.documents import FIELDS
from recollectd.memory.memories.scanning import all_documents
from recollectd.memory.memories.scopes import SearchScopes, walk_settings
from recollectd.memory.state.sweeps import Expire
from recollectd.protocol.messages import memories
from recollectd.protocol.messages.conversations import ConversationDelete
from recollectd.protocol.messages.fields import Write
from recollectd.protocol.messages.search_settings import SearchConfigure
from recollectd.storage.engine import Engine
from recollectd.storage.keyspace import namespace_bytes
from recollectd.storage.keywords.options import KeywordOptions
from recollectd.storage.keywords.view import Keywords, rebuild_keywords

WORDS: Final = ("tea", "pianos", "harbour", "running", "the", "violet")
SCOPES: Final = (namespace_bytes(NS), said.scope_of(namespace_bytes(NS)))
ON: Final = SearchConfigure(NS, messages=True)
OFF: Final = SearchConfigure(NS, messages=False)


def counted(keywords: Keywords) -> dict[str, object]:
    """Return how many documents there are, and what each word finds with which scores."""
    weights = dict.fromkeys(FIELDS, 1.0)
    found: dict[str, object] = {}
    for scope in SCOPES:
        found[f"documents of {scope!r}"] = keywords.count(scope)
        for word in WORDS:
            hits = keywords.search(scope, word, weights=weights, limit=1_000)
            found[f"{word} in {scope!r}"] = {hit.record_id: round(hit.score, 9) for hit in hits}
    return found


def check(followed: Followed) -> None:
    """Compare the view, and what is left of it after an end without a word, with one made of the records alone."""
    engine = cast("Engine", followed.store.engine)
    for _ in range(2):
        followed.follow()
        while followed.index_anew():
            followed.follow()
        scopes = SearchScopes(walk_settings(engine))
        options = KeywordOptions(fields=FIELDS, analysis_of=scopes.analysis_of)
        folder = followed.folder / "anew"
        anew = rebuild_keywords(folder, engine.applied_seq, all_documents(engine, scopes), options)
        assert counted(followed.views.keywords) == counted(anew)
        followed.reopen()


def told(followed: Followed) -> None:
    """Tell the views."""
    followed.follow()


def lost(followed: Followed) -> None:
    """End before the views are told."""
    followed.reopen()


def forgotten(followed: Followed) -> None:
    """End once the views were told, before they have written it."""
    followed.follow()
    followed.reopen()


def kept(followed: Followed) -> None:
    """End once the views have written what they were told, and nothing else says that it had changed."""
    followed.follow()
    followed.trim()
    followed.reopen()


def put_off(followed: Followed) -> None:
    """Tell the views together with what comes next."""


MOMENTS: Final = (told, lost, forgotten, kept, put_off)


@pytest.fixture(params=MOMENTS, ids=lambda each: each.__name__)
def moment(request: pytest.FixtureRequest) -> Callable[[Followed], None]:
    """What happens after each write."""
    found: Callable[[Followed], None] = request.param
    return found


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    """A namespace whose messages are found, as a start finds it."""
    followed = Followed(tmp_path)
    followed.write(ON, add(memory("tea for the harbour", "m")))
    for name in ("a", "b", "c"):
        followed.write(create(name), say(name, "tea in the harbour", "pianos", f"running {name}"))
    check(followed)
    followed.trim()
    return followed


def indexed(followed: Followed, moment: Callable[[Followed], None]) -> None:
    """Index anew to the end, something happening after each step."""
    while followed.index_anew():
        moment(followed)
    assert followed.views.pending() is None


@pytest.mark.parametrize("steps", [1, 256])
def test_messages_that_are_no_longer_searched_leave_the_view(
    followed: Followed, moment: Callable[[Followed], None], steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "_STEP", steps)
    followed.store.write(OFF)
    moment(followed)
    followed.follow()
    indexed(followed, told if moment is put_off else moment)
    followed.follow()
    assert followed.views.keywords.count(SCOPES[1]) == 0
    check(followed)


def test_a_conversation_deleted_while_messages_are_not_searched(
    followed: Followed, moment: Callable[[Followed], None]
) -> None:
    followed.write(OFF)
    indexed(followed, told)
    followed.store.write(ConversationDelete(NS, "a"))
    moment(followed)
    followed.store.write(say("b", "violet"))
    moment(followed)
    followed.store.write(ON)
    moment(followed)
    followed.follow()
    indexed(followed, told)
    check(followed)


def test_a_conversation_deleted_just_before_messages_are_out_of_the_view(
    followed: Followed, moment: Callable[[Followed], None]
) -> None:
    followed.write(OFF)
    followed.store.write(ConversationDelete(NS, "a"))
    followed.index_anew()  # the last step, told together with the deletion unless something is between
    moment(followed)
    followed.follow()
    assert followed.views.keywords.count(SCOPES[1]) == 0
    followed.write(ON)
    check(followed)


@pytest.mark.parametrize("anew", [(), ("violet",), ("tea", "tea", "running", "violet tea", "the")])
def test_a_conversation_made_again_under_its_id(
    followed: Followed, moment: Callable[[Followed], None], anew: tuple[str, ...]
) -> None:
    followed.store.write(ConversationDelete(NS, "a"))
    moment(followed)
    followed.store.write(create("a"))
    moment(followed)
    for content in anew:
        followed.store.write(say("a", content))
        moment(followed)
    check(followed)


def test_a_conversation_deleted_and_made_again_in_one_commit(
    followed: Followed, moment: Callable[[Followed], None]
) -> None:
    followed.store.write(transaction(say("a", "violet", "violet"), ConversationDelete(NS, "a"), create("a")))
    moment(followed)
    followed.store.write(transaction(say("a", "tea"), ConversationDelete(NS, "b"), create("b"), say("b", "the tea")))
    moment(followed)
    check(followed)


@pytest.mark.parametrize("seed", range(24))
def test_any_changes_in_any_order(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(rebuilding, "_STEP", rng.choice((1, 3, 256)))
    monkeypatch.setattr(rebuilding, "_CONVERSATIONS", rng.choice((2, 64)))
    followed = Followed(tmp_path)
    alive: set[str] = set()
    for _ in range(60):
        followed.store.now += rng.choice((0, 0, 400_000, 7 * 3_600_000_000))
        followed.store.write(any_write(rng, alive))
        rng.choice(MOMENTS)(followed)
        if rng.random() < 0.4:
            followed.follow()  # no step is made before the view knows the one before
            if followed.index_anew():
                rng.choice(MOMENTS)(followed)
        if rng.random() < 0.2 and followed.store.run(Expire()):
            rng.choice(MOMENTS)(followed)
        if rng.random() < 0.1:
            followed.views.keywords.flush()
            followed.views.keywords.merge()
        if rng.random() < 0.1:
            check(followed)
    check(followed)


def any_write(rng: random.Random, alive: set[str]) -> Write:
    """Return some write; alive: the conversations there are, which is brought along."""
    name = rng.choice("abcd")
    text = " ".join(rng.choices(WORDS, k=rng.randint(1, 4)))
    roll = rng.random()
    if roll < 0.1:
        return SearchConfigure(NS, messages=rng.random() < 0.6)
    if roll < 0.15:
        return SearchConfigure(NS, language=rng.choice(("english", "german")), stop_words=rng.random() < 0.5)
    if roll < 0.25:
        ttl_us = rng.choice((None, 3_600_000_000))
        thread = rng.choice((None, "x", "y"))
        return add(memory(text, f"m{rng.randint(0, 5)}", conversation_id=thread, ttl_us=ttl_us), if_new=True)
    if roll < 0.35:
        return memories.MemoryDelete(NS, f"m{rng.randint(0, 5)}")
    if name not in alive:
        alive.add(name)
        return create(name)
    if roll < 0.5:
        alive.discard(name)
        return ConversationDelete(NS, name)
    return say(name, *(message(text) for _ in range(rng.randint(1, 4))))


@pytest.mark.parametrize("thread", [None, "y", "x"])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_memory_made_again_elsewhere(
    followed: Followed, moment: Callable[[Followed], None], thread: str | None, at_once: bool
) -> None:
    for name in "pqrst":
        followed.write(add(memory(f"pianos {name} violet", name, conversation_id="x")))
    check(followed)
    gone, again = memories.MemoryDelete(NS, "r"), add(memory("harbour", "r", conversation_id=thread))
    for request in (transaction(gone, again),) if at_once else (gone, again):
        followed.store.write(request)
        moment(followed)
    check(followed)
