"""Watches: nothing is left out or told twice, whatever happens to the connection."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from client.fake import NOW, FakeDaemon, refuse
from recollectd.client import AsyncClient, Client, results
from recollectd.client.aio import watch as async_watch
from recollectd.client.watching import WatchState
from recollectd.protocol import errors
from recollectd.protocol.messages.connection import Pong
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.transactions import Change, Watch, Watching


def change(position: int, key: str = "k", data: object = None) -> Change:
    encoded = None if data is None else msgspec.msgpack.encode(data)
    return Change(position, Kind.STATE, "put", ("default",), key, NOW, 1, encoded)


def watches(daemon: FakeDaemon) -> list[Watch]:
    return [received.request for received in daemon.of_type(Watch) if isinstance(received.request, Watch)]


def test_a_watch_is_in_place_when_it_is_returned(daemon: FakeDaemon, client: Client) -> None:
    with client.watch("p", namespace=("a", "b"), kinds=["state", "log"], position=5, values=True) as watch:
        assert daemon.watches == 1
        assert watch.position == 5
    assert watches(daemon) == [Watch(("a", "b"), "p", (1, 2), 5, True)]
    daemon.wait(lambda: daemon.connections == 0)


def test_changes_come_as_they_happen(daemon: FakeDaemon, client: Client) -> None:
    client.state.put("k", 1)
    with client.watch(values=True) as watch:
        assert watch.position == 1
        daemon.tell(change(2, "a", {"x": 1}), change(2, "b"))
        first = next(watch)
        assert first == results.Change(2, "state", "put", ("default",), "a", first.time, 1, {"x": 1})
        assert first.time == "2023-11-14T22:13:20.123456Z"
        assert watch.position == 1, "the commit at 2 has not been taken whole"
        assert next(watch).key == "b"
        assert watch.position == 2
        assert client.state.get("k") is not None, "calls have their own connections"


def test_a_lost_connection_goes_on_where_it_was(daemon: FakeDaemon, client: Client) -> None:
    with client.watch() as watch:
        daemon.tell(change(3), change(4))
        assert next(watch).position == 3
        daemon.drop_all()
        daemon.wait(lambda: daemon.connections == 0)
        with ThreadPoolExecutor(1) as threads:
            taken = threads.submit(lambda: [next(watch).position for _ in range(2)])
            daemon.wait(lambda: daemon.watches == 1)
            daemon.tell(change(5))
            assert taken.result(20) == [4, 5]
    assert [request.position for request in watches(daemon)] == [None, 4]


def test_missed_changes_are_said_behind_those_that_came(daemon: FakeDaemon, client: Client) -> None:
    watch = client.watch()
    daemon.tell(change(3))
    daemon.tell(end=errors.Resync("too slow"))
    assert next(watch).position == 3
    with pytest.raises(errors.Resync, match="too slow"):
        next(watch)
    assert list(watch) == []
    daemon.wait(lambda: daemon.connections == 0)


def test_a_trimmed_position_is_refused_at_once(daemon: FakeDaemon, client: Client) -> None:
    daemon.script = lambda received: refuse(errors.Resync("trimmed"))
    with pytest.raises(errors.Resync):
        client.watch(position=1)
    daemon.wait(lambda: daemon.connections == 0)


def test_another_store_is_another_history(daemon: FakeDaemon, client: Client) -> None:
    watch = client.watch()
    daemon.store_id = b"T" * 16
    daemon.drop_all()
    with pytest.raises(errors.Resync, match="another store"):
        next(watch)


def test_nobody_coming_back_is_said(daemon: FakeDaemon) -> None:
    with Client(daemon.url, timeout=0.3) as client, client.watch() as watch:
        daemon.stop()
        with pytest.raises(errors.DaemonUnavailable):
            next(watch)


@pytest.mark.parametrize("close", ["watch", "client"])
def test_closing_from_another_thread_ends_it(daemon: FakeDaemon, client: Client, close: str) -> None:
    watch = client.watch()
    with ThreadPoolExecutor(1) as threads:
        taking = threads.submit(list, watch)
        daemon.tell(change(3))
        if close == "watch":
            watch.close()
            assert len(taking.result(20)) <= 1
        else:
            client.close()
            with pytest.raises(errors.ClientClosed):
                taking.result(20)
    daemon.wait(lambda: daemon.connections == 0)


def test_a_position_given_is_where_the_watch_begins() -> None:
    """What the daemon confirms may lie further on: what lies between is still going to be told."""
    state = WatchState(("a",), "", (), 5, False)
    state.take(Watching(9))
    assert state.position == 5
    state = WatchState(("a",), "", (), None, False)
    state.take(Watching(9))
    assert state.position == 9
    with pytest.raises(errors.InvalidMessage):
        state.take(Pong(0))


# Under asyncio.


def test_changes_come_as_they_happen_under_asyncio(daemon: FakeDaemon) -> None:
    async def main() -> None:
        client = AsyncClient(daemon.url)
        async with client, client.watch("p", kinds="state", position=2, values=True) as watch:
            daemon.tell(change(3, data=7), change(3, "b"))
            first = await anext(watch)
            assert (first.kind, first.data) == ("state", 7)
            assert watch.position == 2
            assert (await anext(watch)).key == "b"
            assert watch.position == 3
            await client.state.put("k", 1)
        daemon.wait(lambda: daemon.connections == 0)

    asyncio.run(main())
    assert watches(daemon) == [Watch(("default",), "p", (1,), 2, True)]


def test_a_watch_without_a_block_begins_with_the_iteration(daemon: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(daemon.url) as client:
            watch = client.watch()
            assert watch.position is None
            taking = asyncio.create_task(anext(watch))
            await asyncio.to_thread(daemon.wait, lambda: daemon.watches == 1)
            daemon.tell(change(3))
            assert (await taking).position == 3

    asyncio.run(main())


def test_a_lost_connection_goes_on_where_it_was_under_asyncio(daemon: FakeDaemon) -> None:
    async def main() -> list[int]:
        async with AsyncClient(daemon.url) as client, client.watch() as watch:
            daemon.tell(change(3), change(4))
            positions = [(await anext(watch)).position]
            daemon.drop_all()
            await asyncio.to_thread(daemon.wait, lambda: daemon.connections == 0)
            taking = asyncio.create_task(take(watch, 2))
            await asyncio.to_thread(daemon.wait, lambda: daemon.watches == 1)
            daemon.tell(change(5))
            return positions + await taking

    assert asyncio.run(main()) == [3, 4, 5]
    assert [request.position for request in watches(daemon)] == [None, 4]


async def take(watch: Any, count: int) -> list[int]:
    return [(await anext(watch)).position for _ in range(count)]


def test_missed_changes_are_said_behind_those_that_came_under_asyncio(daemon: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(daemon.url) as client, client.watch() as watch:
            daemon.tell(change(3))
            daemon.tell(end=errors.Resync("too slow"))
            assert await take(watch, 1) == [3]
            with pytest.raises(errors.Resync, match="too slow"):
                await anext(watch)
            assert [each async for each in watch] == []

    asyncio.run(main())


def test_what_is_not_taken_stays_with_the_daemon(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_watch, "_CHANGES_WAITING_MAX", 5)

    async def main() -> None:
        async with AsyncClient(daemon.url) as client, client.watch() as watch:
            assert watch._channel is not None
            assert watch._channel._transport is not None
            daemon.tell(*(change(position) for position in range(1, 7)))
            while len(watch._changes) < 6:
                await asyncio.sleep(0)
            assert not watch._channel._transport.is_reading()
            daemon.tell(change(7))
            assert await take(watch, 7) == list(range(1, 8))
            assert watch._channel._transport.is_reading()

    asyncio.run(main())


@pytest.mark.parametrize("close", ["watch", "client"])
def test_closing_ends_it_under_asyncio(daemon: FakeDaemon, close: str) -> None:
    async def main() -> None:
        client = AsyncClient(daemon.url)
        watch = client.watch()
        async with watch:
            taking = asyncio.create_task(anext(watch, None))
            await asyncio.sleep(0)
            await (watch.close() if close == "watch" else client.close())
            if close == "watch":
                assert await taking is None
            else:
                with pytest.raises(errors.ClientClosed):
                    await taking
        await client.close()
        daemon.wait(lambda: daemon.connections == 0)

    asyncio.run(main())


def test_watches_leave_a_connection_for_calls(daemon: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(daemon.url, connections_max=2, timeout=1) as client:
            async with client.watch():
                with pytest.raises(errors.TooManyConnections, match="connections_max"):
                    await client.watch().__aenter__()
                await client.state.put("k", 1)
            async with client.watch():
                pass

    asyncio.run(main())
