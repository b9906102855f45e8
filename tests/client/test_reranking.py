"""Results put in order by the caller's scores, over both faces."""

from __future__ import annotations

import asyncio
import threading
from itertools import repeat
from typing import Any

import pytest

from client.conftest import Drive
from client.fake import FakeDaemon
from recollectd.client import AsyncClient, Client, NewMemory
from recollectd.client.results import MemoryHit
from recollectd.protocol import errors
from recollectd.protocol.messages.memories import MemorySearch

TEXTS = ("a", "bbbb", "cc", "ddd")


def length(query: str, hits: list[MemoryHit]) -> list[float]:
    assert query == "tea"
    return [len(hit.memory.text) for hit in hits]


async def length_awaited(query: str, hits: list[MemoryHit]) -> list[float]:
    await asyncio.sleep(0)
    return length(query, hits)


def limit_asked(daemon: FakeDaemon) -> int:
    asked = daemon.received[-1].request
    assert isinstance(asked, MemorySearch)
    return asked.limit


def test_the_best_by_the_rerankers_scores_are_returned(any_daemon: FakeDaemon, drive: Drive) -> None:
    with drive(any_daemon) as driver:
        m, do = driver.client.memories, driver.do
        do(lambda: m.add_many([NewMemory(text, text) for text in TEXTS]))
        found = do(lambda: m.search("tea", reranker=length, limit=2, explain=True))
        assert [(hit.memory.text, hit.score) for hit in found.hits] == [("bbbb", 4.0), ("ddd", 3.0)]
        details = found.hits[0].score_details
        assert (details.reranker, details.first_score, details.arms[0].arm) == (4.0, 0.5, "keyword")
        assert found.cursor == b""
        assert limit_asked(any_daemon) == 50
        (hit,) = do(lambda: m.search("tea", reranker=length, limit=1, candidates=3)).hits
        assert (hit.memory.text, hit.score_details.arms) == ("bbbb", [])
        assert limit_asked(any_daemon) == 3
        do(lambda: m.search("tea", reranker=length, limit=60))
        assert limit_asked(any_daemon) == 60


def test_equal_ones_stay_in_order_and_nothing_is_asked_of_nothing(daemon: FakeDaemon) -> None:
    with Client(daemon.url) as client:
        assert client.memories.search("tea", reranker=lambda query, hits: pytest.fail("nothing to score")).hits == []
        client.memories.add_many([NewMemory(text, text) for text in TEXTS])
        found = client.memories.search("tea", reranker=lambda query, hits: [1.0] * len(hits)).hits
        assert [hit.memory.text for hit in found] == list(TEXTS)


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({"reranker": lambda query, hits: [1.0]}, "reranker"),
        ({"reranker": lambda query, hits: [float("nan")] * len(hits)}, "reranker"),
        ({"reranker": lambda query, hits: repeat(1.0)}, "reranker"),
        ({"reranker": lambda query, hits: None}, "reranker"),
        ({"reranker": lambda query, hits: ["much"] * len(hits)}, "reranker"),
        ({"reranker": "length"}, "reranker"),
        ({"reranker": length_awaited}, "reranker"),
        ({"reranker": length, "cursor": b"x"}, "cursor"),
        ({"reranker": length, "candidates": 0}, "candidates"),
        ({"reranker": length, "limit": 0}, "limit"),
    ],
)
def test_what_a_reranker_cannot_do_is_refused(daemon: FakeDaemon, told: dict[str, Any], field: str) -> None:
    with Client(daemon.url) as client:
        client.memories.add_many([NewMemory(text, text) for text in TEXTS])
        with pytest.raises(errors.InvalidArgument) as refused:
            client.memories.search("tea", **told)
        assert refused.value.field == field


async def test_the_loop_goes_on_while_a_reranker_works(daemon: FakeDaemon) -> None:
    let_go = threading.Event()
    threads: set[int] = set()

    def slow(query: str, hits: list[MemoryHit]) -> list[float]:
        threads.add(threading.get_ident())
        let_go.wait()
        return length(query, hits)

    async with AsyncClient(daemon.url) as client:
        await client.memories.add_many([NewMemory(text, text) for text in TEXTS])
        searching = asyncio.ensure_future(client.memories.search("tea", reranker=slow, limit=1))
        await client.state.put("other", 1)  # would wait for ever behind a reranker on the loop
        assert not searching.done()
        let_go.set()
        assert [hit.memory.text for hit in (await searching).hits] == ["bbbb"]
    assert threads
    assert threading.get_ident() not in threads


async def test_a_coroutine_function_is_awaited(daemon: FakeDaemon) -> None:
    async with AsyncClient(daemon.url) as client:
        await client.memories.add_many([NewMemory(text, text) for text in TEXTS])
        found = await client.memories.search("tea", reranker=length_awaited, limit=2)
        assert [(hit.memory.text, hit.score) for hit in found.hits] == [("bbbb", 4.0), ("ddd", 3.0)]
        with pytest.raises(errors.InvalidArgument, match="gave 0 scores"):
            await client.memories.search("tea", reranker=lambda query, hits: [])
        async with client.pipeline() as pipeline:
            assert (await pipeline.memories.search("tea", reranker=length, limit=1)).hits[0].score == 4.0
            with pytest.raises(errors.InvalidArgument, match="coroutine function"):
                pipeline.memories.search("tea", reranker=length_awaited)
