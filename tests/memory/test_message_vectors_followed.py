"""The vector view has the vectors of messages that are there and searched, whatever happened and however it ended."""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from memory.asking import NS, add, chat, create, memory, message, say, space, vector
from memory.followed import Followed
from memory.harness import operation_of
from memory.test_message_vectors import embed
from recollectd.memory.memories import rebuilding, said, views
from recollectd.memory.memories.sweeps import StripVectors
from recollectd.protocol import errors
from recollectd.protocol.messages.conversations import ConversationDelete, ConversationVectors
from recollectd.protocol.messages.fields import Write
from recollectd.protocol.messages.search_settings import SearchConfigure
from recollectd.protocol.messages.vector_spaces import SpaceDrop, SpaceList
from recollectd.storage.keyspace import namespace_bytes, pack_u64

CHATS: Final = ("a", "b", "c")
SPACES: Final = ("s", "t")
OF_MESSAGES: Final = said.scope_of(namespace_bytes(NS))
ON: Final = SearchConfigure(NS, messages=True)
OFF: Final = SearchConfigure(NS, messages=False)
QUERY: Final = vector(1.0, 0.25)

Scores = dict[bytes, float]


def by_records(followed: Followed) -> dict[str, Scores]:
    """Return what each space must find, by the messages that are there: cosines with the query, by record id."""
    store = followed.store
    wanted: dict[str, Scores] = {each.name: {} for each in store.read(SpaceList(NS)).spaces}
    for name in CHATS:
        try:
            told = store.read(ConversationVectors(NS, name, 0, 1_000)).messages
        except errors.NotFound:
            continue
        for each in told:
            for among, components in each.vectors.items():
                wanted[among][name.encode() + pack_u64(each.position)] = cosine(components)
    return wanted


def cosine(components: bytes) -> float:
    (a, b), (c, d) = struct.unpack("<2f", components), struct.unpack("<2f", QUERY)
    return float((a * c + b * d) / ((a * a + b * b) * (c * c + d * d)) ** 0.5)


def check(followed: Followed, *, searched: bool) -> None:
    """Compare the view with the records, also after an end without a word."""
    for _ in range(2):
        followed.follow()
        while followed.index_anew():
            followed.follow()
        wanted = by_records(followed) if searched else {}
        vectors = followed.views.vectors
        assert {name for scope, name in vectors.spaces() if scope == OF_MESSAGES} == set(wanted)
        for name, scores in wanted.items():
            found = dict(vectors.search(OF_MESSAGES, name, QUERY, 1_000, exact=True))
            assert found.keys() == scores.keys()
            assert vectors.count(OF_MESSAGES, name) == len(scores)
            assert all(abs(found[key] - score) < 1e-5 for key, score in scores.items())
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


def damaged(followed: Followed) -> None:
    """End, and lose the vector view."""
    followed.follow()
    followed.trim()
    followed.views.close()
    shutil.rmtree(followed.folder / "vectors")
    followed.views = followed.open()
    followed.reopen()


MOMENTS: Final = (told, lost, forgotten, kept, put_off, damaged)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("moment", [*MOMENTS, None], ids=lambda each: "any" if each is None else each.__name__)
def test_it_has_what_the_records_have(
    tmp_path: Path, moment: Callable[[Followed], None] | None, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(rebuilding, "_STEP", rng.choice((1, 4, 256)))
    followed = Followed(tmp_path)
    store = followed.store
    searched = False
    followed.write(space("s", precision="f32"))
    for turn in range(50):
        for request in one_of(rng, followed):
            searched = {ON: True, OFF: False}.get(request, searched) if request in (ON, OFF) else searched
            store.write(request)
        if rng.random() < 0.3:
            followed.index_anew()
        if rng.random() < 0.2:
            store.run(StripVectors())
        (moment or rng.choice(MOMENTS))(followed)
        if turn % 12 == 11:
            check(followed, searched=searched)
    check(followed, searched=searched)
    followed.views.close()


def one_of(rng: random.Random, followed: Followed) -> list[Write]:
    """Return requests that can be carried out now."""
    store = followed.store
    names = [each.name for each in store.read(SpaceList(NS)).spaces]
    there = [name for name in CHATS if exists(followed, name)]

    def given() -> dict[str, bytes]:
        return {
            name: vector(rng.uniform(-1, 1), rng.uniform(0.1, 1))
            for name in rng.sample(names, rng.randint(0, len(names)))
        }

    choice = rng.random()
    if choice < 0.08:
        return [ON]
    if choice < 0.11:
        return [OFF]
    if choice < 0.2:
        free = [name for name in SPACES if name not in names]
        return [space(rng.choice(free), precision="f32")] if free else [SpaceDrop(NS, rng.choice(names))]
    if choice < 0.24:
        return [add(memory("tea", vectors=given()))]
    if choice < 0.34 and there:
        return [ConversationDelete(NS, rng.choice(there))]
    if choice < 0.5 and there and names:
        name = rng.choice(there)
        positions = rng.sample(range(6), 2)
        return [
            embed(store, *((each, vector(1, rng.random())) for each in positions), into=names[0], conversation_id=name)
        ]
    name = rng.choice(CHATS)
    before = [] if exists(followed, name) else [create(name)]
    return [*before, say(name, *(message("rain", vectors=given()) for _ in range(rng.randint(1, 3))))]


def exists(followed: Followed, name: str) -> bool:
    try:
        followed.store.read(chat(name))
    except errors.NotFound:
        return False
    return True


def test_a_namespace_of_an_older_store_gets_its_space_at_the_start(tmp_path: Path) -> None:
    """What a daemon has written that knew no vectors of messages: a searched namespace, and no space for them."""
    followed = Followed(tmp_path)
    followed.write(space("s", precision="f32"), ON, create("a"), say("a", "tea"))
    while followed.index_anew():
        followed.follow()
    followed.trim()
    del followed.views.vectors._spaces[OF_MESSAGES, "s"]
    followed.views.vectors.checkpoint()
    followed.reopen()
    check(followed, searched=True)
    followed.write(say("a", message("rain", vectors={"s": vector(1, 2)})))
    check(followed, searched=True)
    assert followed.search(vectors={"s": vector(1, 2)}, among="messages") != set()
    followed.views.close()


def test_settings_that_are_known_before_what_came_with_them_make_searches_busy(tmp_path: Path) -> None:
    followed = Followed(tmp_path)
    followed.write(space("s"), create("a"), say("a", message("rain", vectors={"s": vector(1, 2)})), ON)
    while followed.index_anew():
        followed.follow()
    now = followed.views
    told = now._told_seq
    now._told_seq = now._noted_seq = now.scopes.of(namespace_bytes(NS)).revision - 1
    for among in ("messages", "both"):
        with pytest.raises(errors.Busy):
            followed.search(vectors={"s": vector(1, 2)}, among=among)
    now._told_seq = now._noted_seq = told
    assert len(followed.search(vectors={"s": vector(1, 2)}, among="messages")) == 1
    now.close()


def test_only_appends_with_vectors_wait_for_the_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = Followed(tmp_path)
    followed.write(space("s"), create("a"))
    with_vectors = operation_of(say("a", "tea", message("rain", vectors={"s": vector(1, 2)})))
    later = operation_of(embed(followed.store, (0, vector(1, 2)), into="s", conversation_id="a"))
    plain, gone = operation_of(say("a", "tea")), operation_of(ConversationDelete(NS, "a"))
    refuse = followed.views.refuse
    assert [refuse(each) for each in (with_vectors, later, plain, gone)] == [None] * 4
    monkeypatch.setattr(views, "_WAITING_MAX", -1)  # as if more than that waited to be told
    assert isinstance(refuse(with_vectors), errors.Busy)
    assert isinstance(refuse(later), errors.Busy)
    assert (refuse(plain), refuse(gone)) == (None, None)
    followed.views.close()


def test_until_they_are_told_again_searches_are_busy(tmp_path: Path) -> None:
    followed = Followed(tmp_path)
    followed.write(space("s", precision="f32"), create("a"), say("a", message("rain", vectors={"s": vector(1, 2)})))
    followed.write(ON)
    with pytest.raises(errors.Busy):
        followed.search(vectors={"s": vector(1, 2)}, among="messages")
    while followed.index_anew():
        followed.follow()
    assert len(followed.search(vectors={"s": vector(1, 2)}, among="messages")) == 1
    followed.write(SearchConfigure(NS, language="german"))
    assert len(followed.search(vectors={"s": vector(1, 2)}, among="messages")) == 1, "vectors know no language"
    while followed.index_anew():
        followed.follow()
    assert followed.views.vectors.count(OF_MESSAGES, "s") == 1
    followed.views.close()
