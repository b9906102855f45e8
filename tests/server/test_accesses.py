"""How often memories are found: counted where it is switched on, a factor of scores on request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recollectd.client import Client, NewMemory
from recollectd.testing import Daemon
from support.waiting import until


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Daemon(options={"server.touch_interval_ms": 10}) as running:
        with running.client() as client:
            client.memories.add_many([NewMemory("tea one", "a"), NewMemory("tea two", "b"), NewMemory("cake", "c")])
        yield running


def counts(client: Client) -> dict[str, int]:
    return {each.memory_id: each.access_count for each in client.memories.list()}


def find_until(client: Client, memory_id: str, count: int) -> None:
    """Find a memory once, and wait until so many times are counted."""
    client.memories.get(memory_id)
    until(lambda: counts(client)[memory_id] >= count)


def found(client: Client, text: str = "tea", **told: object) -> list[str]:
    return [hit.memory.memory_id for hit in client.memories.search(text, **told).hits]  # type: ignore[arg-type]


def test_nothing_is_counted_unless_it_is_switched_on(daemon: Daemon) -> None:
    with daemon.client() as client:
        found(client)
        client.memories.get("a")
        client.memories.configure_search(accesses=True)
        found(client, "cake")
        until(lambda: counts(client)["c"] == 1)
        assert counts(client) == {"a": 0, "b": 0, "c": 1}


def test_what_was_found_more_often_counts_more_on_request(daemon: Daemon) -> None:
    with daemon.client() as client:
        assert client.memories.configure_search(accesses=True).accesses is True
        version = client.memories.get("b")
        for wanted in (1, 2, 3):
            find_until(client, "b", wanted)
        after = client.memories.get("b")
        assert version is not None
        assert after is not None
        assert after.version == version.version
        assert after.updated_at == version.updated_at
        assert after.last_accessed is not None
        assert after.last_accessed >= after.updated_at
        client.memories.configure_search(accesses=False)
        assert found(client) == ["a", "b"]
        assert found(client, access_weight=0.5) == ["b", "a"]
        hits = client.memories.search("tea", access_weight=0.5, explain=True).hits
        assert [hit.score_details and hit.score_details.access for hit in hits] == [1.0, 0.5]
        hits = client.memories.search("tea", access_weight=1, access_half_life=1e-6, explain=True).hits
        assert [hit.score_details and round(hit.score_details.access, 6) for hit in hits] == [0.0, 0.0]
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        assert counts(client)["b"] >= 3
        client.memories.replace(NewMemory("tea, twice", "b"))
        assert counts(client)["b"] >= 3
        client.memories.delete("b")
        client.memories.add("tea again", memory_id="b")
        assert counts(client)["b"] == 0


def test_contexts_count_too_and_transactions_are_not_disturbed(daemon: Daemon) -> None:
    with daemon.client() as client, daemon.client() as other:
        client.memories.configure_search(accesses=True)
        assert client.memories.context("cake", tokens=50).memory_ids == ("c",)
        until(lambda: counts(client)["c"] == 1)
        tries = 0

        def read_and_write(transaction: Client) -> None:
            nonlocal tries
            tries += 1
            transaction.memories.get("a")
            before = counts(other)["b"]
            other.memories.get("b")
            until(lambda: counts(other)["b"] > before)
            transaction.state.put("k", 1)

        client.transact(read_and_write)  # type: ignore[arg-type]
        assert tries == 1
