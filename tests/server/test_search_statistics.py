"""Scores of words are BM25's over the live memories of the namespace and nothing else, whatever the files have been.

The comparison is plain Python written from the documents: a memory is read in three texts (itself with its date, with
the two said before it, with two on each side, within six hours), whose scores are added.
"""

from __future__ import annotations

import math
import random
import shutil
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from recollectd.client import Client, NewMemory
from recollectd.testing import Daemon

K1, B = 1.2, 0.75
REACH = 2
SITTING = timedelta(hours=6)
WORDS = [f"word{number}" for number in range(30)]
SHARES = [1 / (rank + 1) for rank in range(len(WORDS))]
NEIGHBOURS = (("acme", "a"), ("acme",), ("acme", "agent", "x"), ("acme", "agent-2"))
HUGE = 3_000


class Said(NamedTuple):
    """A memory as it is now. position: its place in its conversation, which deletions leave to it."""

    text: str
    conversation_id: str | None
    position: int
    valid_at: datetime | None


class World:
    """A namespace of the daemon, and what it must hold."""

    def __init__(self, client: Client, seed: int) -> None:
        self.rng = random.Random(seed)
        self.client = client
        self.live: dict[str, Said] = {}
        self._number = 0
        self._next: Counter[str] = Counter()
        client.memories.configure_search(language="none")

    def words(self) -> str:
        return " ".join(self.rng.choices(WORDS, SHARES, k=self.rng.randint(1, 15)))

    def add(self, count: int) -> None:
        new: list[NewMemory] = []
        for _ in range(count):
            self._number += 1
            name, conversation = f"m{self._number}", self.rng.choice((None, "one", "two", "three"))
            moment = datetime(2024, 2, 28, tzinfo=UTC) + timedelta(hours=self._number // 4)
            said = Said(self.words(), conversation, 0, moment if self.rng.random() < 0.8 else None)
            if conversation is not None:
                said = said._replace(position=self._next[conversation])
                self._next[conversation] += 1
            self.live[name] = said
            new.append(NewMemory(said.text, name, conversation_id=conversation, valid_at=said.valid_at))
        self.client.memories.add_many(new)

    def change(self, count: int) -> None:
        for name in self.rng.sample(sorted(self.live), count):
            draw = self.rng.random()
            if draw < 0.5:
                del self.live[name]
                assert self.client.memories.delete(name)
            elif draw < 0.9:
                self.live[name] = self.live[name]._replace(text=self.words())
                self.client.memories.update(name, text=self.live[name].text)
            else:
                self.client.memories.forget(name)  # hidden, and counted as before

    def ask(self, query: str) -> dict[str, float]:
        asked = {"neighbours": 0.0, "speaker": 0.0, "expansion": 0.0, "turns": 0.0}
        found = self.client.memories.search(query, limit=1_000, hidden=True, mode="keyword", **asked)  # type: ignore[arg-type]
        return {hit.memory.memory_id: hit.score for hit in found.hits}

    def check(self) -> None:
        texts = {name: texts_of(said, self.live.values()) for name, said in self.live.items()}
        for query in (*self.rng.sample(WORDS, 5), " ".join(self.rng.sample(WORDS, 4)), "february 2024 word1"):
            wanted = bm25(texts, query.split())
            found = self.ask(query)
            assert found.keys() == wanted.keys()
            for name, score in found.items():
                assert math.isclose(score, wanted[name], rel_tol=1e-9), (query, name)


def texts_of(said: Said, live: Collection[Said]) -> tuple[list[str], list[str], list[str]]:
    """Return the words of a memory's three texts."""
    date = said.valid_at.strftime("%-d %B %Y").lower().split() if said.valid_at is not None else []
    near = [other for other in live if said.conversation_id is not None and beside(said, other)]
    near.sort(key=lambda other: other.position)
    before = [word for other in near if other.position < said.position for word in other.text.split()]
    behind = [word for other in near if other.position > said.position for word in other.text.split()]
    own = said.text.split()
    return date + own, date + before + own, date + before + own + behind


def beside(said: Said, other: Said) -> bool:
    """Tell whether another memory was said within reach, in the same sitting."""
    if other.conversation_id != said.conversation_id or not 0 < abs(other.position - said.position) <= REACH:
        return False
    if said.valid_at is None or other.valid_at is None:
        return said.valid_at is other.valid_at
    return abs(said.valid_at - other.valid_at) <= SITTING


def bm25(texts: dict[str, tuple[list[str], list[str], list[str]]], query: list[str]) -> dict[str, float]:
    """Return the scores of the memories that have a word of the query in one of their texts."""
    scores: dict[str, float] = {}
    for field in range(3):
        average = sum(len(each[field]) for each in texts.values()) / len(texts)
        counted = {name: Counter(each[field]) for name, each in texts.items()}
        for term in query:
            having = [name for name, counts in counted.items() if term in counts]
            idf = math.log(1 + (len(texts) - len(having) + 0.5) / (len(having) + 0.5))
            for name in having:
                often, length = counted[name][term], len(texts[name][field])
                held_back = K1 * (1 - B + B * length / average)
                scores[name] = scores.get(name, 0.0) + idf * often * (K1 + 1) / (often + held_back)
    return scores


def crowd(client: Client, seed: int) -> None:
    rng = random.Random(seed)
    for labels in NEIGHBOURS:
        beside = client.with_namespace(*labels)
        for _ in range(HUGE // 500):
            beside.memories.add_many([NewMemory(" ".join(rng.choices(WORDS, k=10))) for _ in range(500)])


@pytest.mark.parametrize("seed", [1, 2])
def test_scores_are_those_of_plain_arithmetic_whatever_happened_to_the_files(seed: int) -> None:
    # So little memory for words that segments are written, merged and rewritten all the time.
    options = {"server.keyword_flush_bytes": 4_096, "server.erase_interval_s": 1}
    with Daemon(options=options) as daemon, daemon.client() as client:
        world = World(client.with_namespace("acme", "agent"), seed)
        world.add(60)
        world.check()
        for _ in range(4):
            world.add(40)
            world.change(25)
            world.check()
        segments = client.status()["views"]["memories"]["keywords"]["segments"]
        assert segments > 0
        before = {word: world.ask(word) for word in WORDS}
        crowd(client, seed)
        assert {word: world.ask(word) for word in WORDS} == before
        world.change(20)
        world.check()
        for labels in NEIGHBOURS[:2]:
            other = client.with_namespace(*labels)
            for each in list(other.memories.list(limit=200)):
                other.memories.delete(each.memory_id)
        world.check()
        daemon.kill()
        daemon.start()
        world.check()
        before = {word: world.ask(word) for word in WORDS}
        daemon.stop()
        shutil.rmtree(daemon.data / "keywords")
        daemon.start()
        assert {word: world.ask(word) for word in WORDS} == before
        client.with_namespace("acme", "agent").memories.configure_search(stop_words=False)
        world.check()
