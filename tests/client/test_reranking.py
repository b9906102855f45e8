"""Results put in order by the caller's scores, over both faces."""

from __future__ import annotations

from typing import Any

import pytest

from client.conftest import Drive
from client.fake import FakeDaemon
from recollectd.client import Client, NewMemory
from recollectd.client.results import MemoryHit
from recollectd.protocol import errors
from recollectd.protocol.messages.memories import MemorySearch

TEXTS = ("a", "bbbb", "cc", "ddd")


def length(query: str, hits: list[MemoryHit]) -> list[float]:
    assert query == "tea"
    return [len(hit.memory.text) for hit in hits]


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
