"""Searches of every sort while everything changes: what they tell holds, and the views agree with the records after."""

from __future__ import annotations

import itertools
import math
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from recollectd.client import Client, NewMemory
from recollectd.client.results import MemoryHit
from recollectd.protocol import errors
from recollectd.testing import Daemon

WORDS = [f"word{number}" for number in range(40)]
SHARED = [f"shared{number}" for number in range(40)]
FILTER = 'kind == "a" and metadata.n > 1'
TURNS = 60
EXPECTED = (errors.NotFound, errors.AlreadyExists, errors.VersionConflict, errors.TransactionConflict, errors.Busy)
# So small that segments are written, merged and erased all the time, and graphs are walked.
OPTIONS = {
    "server.keyword_flush_bytes": 4_096,
    "server.vector_flush_rows": 16,
    "server.vector_exact_rows_max": 20,
    "server.erase_interval_s": 1,
    "server.memory_cache_bytes": 20_480,
    "server.touch_interval_ms": 5,
}


class Storm:
    """What threads do to one namespace. gone: memories whose deletion was answered, and that nobody makes again."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self._alive: list[str] = []
        self._numbers = itertools.count()
        self.trouble: list[str] = []

    def add(self, client: Client, rng: random.Random) -> None:
        own = f"own{next(self._numbers)}"
        client.memories.add_many([new(rng, own)])
        self._alive.append(own)
        client.memories.add_many([new(rng, rng.choice(SHARED))])

    def change(self, client: Client, rng: random.Random) -> None:
        one, other = rng.sample(SHARED, 2)
        memories = client.memories
        changes: list[Callable[[], object]] = [
            lambda: memories.update(one, text=" ".join(rng.choices(WORDS, k=5))),
            lambda: memories.supersede(one, other),
            lambda: memories.forget(one),
            lambda: memories.remember(one),
            lambda: memories.delete(one),
        ]
        rng.choice(changes)()

    def delete(self, client: Client, rng: random.Random) -> None:
        if self._alive:
            own = self._alive.pop(rng.randrange(len(self._alive)))
            assert client.memories.delete(own)
            self.gone.add(own)

    def move(self, client: Client, rng: random.Random) -> None:
        spaces = client.vector_spaces
        spaces.alias("now", rng.choice(("one", "two")))
        if rng.random() < 0.2:
            spaces.reembed("two", lambda texts: [vector(rng) for _ in texts], alias="now")

    def configure(self, client: Client, rng: random.Random) -> None:
        client.memories.configure_search(accesses=rng.random() < 0.5)
        if rng.random() < 0.1:
            client.memories.configure_search(language=rng.choice(("english", "none")))

    def search(self, client: Client, rng: random.Random) -> None:
        asked: dict[str, Any] = {"text": " ".join(rng.sample(WORDS, 2)), "limit": rng.choice((3, 10, 100))}
        if rng.random() < 0.6:
            asked["vectors"] = {rng.choice(("one", "now", "two")): vector(rng)}
        factors = {"diversity": 0.5, "access_weight": 0.5, "explain": True, "hidden": True, "filter": FILTER}
        asked |= {name: value for name, value in factors.items() if rng.random() < 0.3}
        before, cursor = set(self.gone), b""
        for _ in range(3):
            page = client.memories.search(cursor=cursor, **asked)
            for hit in page.hits:
                self.judge(hit, asked, before)
            cursor = page.cursor
            if not cursor:
                break

    def judge(self, hit: MemoryHit, asked: dict[str, Any], gone: set[str]) -> None:
        memory = hit.memory
        allowed = memory.kind == "a" and memory.metadata is not None and memory.metadata["n"] > 1
        for wrong, what in (
            (memory.memory_id in gone, "was deleted"),
            (not math.isfinite(hit.score), "has no score"),
            ("filter" in asked and not allowed, "is not allowed"),
            ("hidden" not in asked and (memory.forgotten_at or memory.superseded_at), "is hidden"),
        ):
            if wrong:
                self.trouble.append(f"{memory} {what}: {asked}")

    def assemble(self, client: Client, rng: random.Random) -> None:
        before, tokens = set(self.gone), rng.choice((1, 10, 100, 5_000))
        context = client.memories.context(" ".join(rng.sample(WORDS, 2)), tokens=tokens, beside=rng.randint(0, 8))
        ids = context.memory_ids
        if context.tokens > tokens or len(set(ids)) < len(ids) or before & set(ids):
            self.trouble.append(f"{context} of {tokens} tokens, gone {before & set(ids)}")

    def calm(self, client: Client) -> None:
        """Wait until what expires has expired, and the event of it has come: until then it counts in scores."""
        for name in (*SHARED, *self._alive):
            while True:
                found, history = client.memories.get(name), client.memories.history(name, limit=1)
                told = history == [] or (found is None) is (history[0].memory is None)
                if told and (found is None or found.expires_at is None):
                    break


def vector(rng: random.Random) -> list[float]:
    return [rng.gauss(0, 1) for _ in range(4)]


def new(rng: random.Random, memory_id: str) -> NewMemory:
    return NewMemory(
        f"{rng.choice(('Ada', 'Bob'))}: {' '.join(rng.choices(WORDS, k=rng.randint(1, 12)))}",
        memory_id,
        kind=rng.choice("ab"),
        conversation_id=rng.choice((None, "c", "d")),
        metadata={"n": rng.randrange(5)},
        vectors={"one": vector(rng)} if rng.random() < 0.7 else None,
        ttl=rng.choice((None, None, None, 0.2)),
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_searches_hold_while_everything_changes(seed: int) -> None:
    storm = Storm()
    with Daemon(options=OPTIONS) as daemon, daemon.client() as client:
        client.vector_spaces.create("one", 4)
        client.vector_spaces.create("two", 4)

        def blow(act: Callable[[Client, random.Random], None], number: int) -> None:
            rng = random.Random(f"{seed} {number}")
            with daemon.client() as own:
                for _ in range(TURNS):
                    try:
                        act(own, rng)
                    except EXPECTED:
                        pass
                    except errors.InvalidArgument as error:
                        if error.field != "superseded_by":  # a circle, into which changes may run
                            raise

        acts = [storm.add, storm.add, storm.change, storm.change, storm.delete, storm.move, storm.configure]
        acts += [storm.search, storm.search, storm.assemble]
        with ThreadPoolExecutor(len(acts)) as pool:
            for blowing in [pool.submit(blow, act, number) for number, act in enumerate(acts)]:
                blowing.result()
        assert storm.trouble == []
        assert "internal error" not in daemon.log
        client.memories.configure_search(language="none", accesses=False)
        storm.calm(client)
        before = everything(client)
        daemon.stop()
        for view in ("keywords", "vectors"):
            shutil.rmtree(daemon.data / view)
        daemon.start()
        assert everything(client) == before


def everything(client: Client) -> dict[str, list[tuple[str, float]]]:
    """Return what arms find, with scores."""
    living = {each.memory_id for each in client.memories.list(hidden=True)}
    alone: dict[str, Any] = {
        "neighbours": 0.0,
        "speaker": 0.0,
        "expansion": 0.0,
        "turns": 0.0,
        "hidden": True,
        "limit": 1_000,
    }
    found = {word: client.memories.search(word, mode="keyword", **alone).hits for word in WORDS}
    found["vector"] = client.memories.search(vectors={"one": [1, 2, 3, 4]}, exact=True, **alone).hits
    assert {hit.memory.memory_id for hits in found.values() for hit in hits} <= living
    return {name: sorted((hit.memory.memory_id, round(hit.score, 6)) for hit in hits) for name, hits in found.items()}
