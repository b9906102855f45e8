"""The client on a real daemon that is killed under it: every write once, in order, whoever makes it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from recollectd.client import AsyncClient, AsyncTransaction, Client, NewMessage, Transaction, errors
from recollectd.testing import Daemon

WRITERS = 4
WRITES = 150
KILLS = 3


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """One daemon for all tests, which may kill it and start it again."""
    with Daemon() as started:
        yield started


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """A namespace of the test's own."""
    return ("test", request.node.name)


class Progress:
    """Counts writes; whoever kills waits for some between two kills."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def step(self) -> None:
        """Count one write."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        """Wait for so many writes in all."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._count >= count, 60)


def kill_now_and_then(daemon: Daemon, progress: Progress) -> None:
    """Kill and start the daemon while writes go on."""
    for kill in range(1, KILLS + 1):
        progress.wait_for(kill * WRITERS * WRITES // (KILLS + 2))
        daemon.restart(kill=True)


def test_threads_write_everything_once_through_kills(daemon: Daemon, namespace: tuple[str, ...]) -> None:
    progress = Progress()
    with (
        daemon.client(namespace=namespace, timeout=60.0, connections_max=3) as client,
        ThreadPoolExecutor(WRITERS + 1) as threads,
    ):

        def write(writer: int) -> list[int]:
            positions = []
            for number in range(WRITES):
                positions.append(client.logs.append(f"log {writer}", [number]).first)
                progress.step()
            return positions

        killing = threads.submit(kill_now_and_then, daemon, progress)
        written = list(threads.map(write, range(WRITERS)))
        killing.result()
        assert written == [list(range(WRITES))] * WRITERS
        for writer in range(WRITERS):
            assert [item.value for item in client.logs.iterate(f"log {writer}")] == list(range(WRITES))


def test_pipelines_write_everything_once_through_kills(daemon: Daemon, namespace: tuple[str, ...]) -> None:
    progress = Progress()
    with daemon.client(namespace=namespace, timeout=60.0) as client, ThreadPoolExecutor(WRITERS + 1) as threads:

        def write(writer: int) -> None:
            for start in range(0, WRITES, 10):
                with client.pipeline() as pipeline:
                    handles = [pipeline.logs.append(f"log {writer}", [start + number]) for number in range(10)]
                assert [handle.result().first for handle in handles] == list(range(start, start + 10))
                for _ in range(10):
                    progress.step()

        killing = threads.submit(kill_now_and_then, daemon, progress)
        list(threads.map(write, range(WRITERS)))
        killing.result()
        for writer in range(WRITERS):
            assert [item.value for item in client.logs.iterate(f"log {writer}")] == list(range(WRITES))


def test_tasks_write_everything_once_through_kills(daemon: Daemon, namespace: tuple[str, ...]) -> None:
    progress = Progress()

    async def main() -> None:
        async with AsyncClient(daemon.url, namespace=namespace, timeout=60.0) as client:

            async def write(writer: int) -> None:
                for number in range(WRITES):
                    assert (await client.logs.append(f"log {writer}", [number])).first == number
                    progress.step()

            killing = asyncio.create_task(asyncio.to_thread(kill_now_and_then, daemon, progress))
            await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
            await killing
            for writer in range(WRITERS):
                found = [item.value async for item in client.logs.iterate(f"log {writer}")]
                assert found == list(range(WRITES))

    asyncio.run(main())


def test_concurrent_transactions_lose_no_update(daemon: Daemon, namespace: tuple[str, ...]) -> None:
    def increment(transaction: Transaction) -> None:
        record = transaction.state.get("counter")
        transaction.state.put("counter", record.value + 1 if record else 1)
        transaction.logs.append("audit", [record.value if record else 0])

    with daemon.client(namespace=namespace) as client, ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(lambda _: [client.transact(increment, attempts=200) for _ in range(20)], range(WRITERS)))
        counter = client.state.get("counter")
        assert counter is not None
        assert (counter.value, counter.version) == (80, 80)
        assert [item.value for item in client.logs.iterate("audit")] == list(range(80))


def test_ranges_are_guarded_against_phantoms(daemon: Daemon, namespace: tuple[str, ...]) -> None:
    runs: list[int] = []
    with daemon.client(namespace=namespace) as client, daemon.client(namespace=namespace) as rival:

        def at_most_three(transaction: Transaction) -> bool:
            runs.append(transaction.state.count("k"))
            if len(runs) == 1:
                rival.state.put_many({"k1": 1, "k2": 2, "k3": 3})
            if runs[-1] < 3:
                transaction.state.put("k4", 4)
                return True
            return False

        assert client.transact(at_most_three) is False
        assert runs == [0, 3]
        assert client.state.count("k") == 3


def test_a_watch_tells_of_everything_once_through_kills(daemon: Daemon, namespace: tuple[str, ...]) -> None:
    count = 60
    with (
        daemon.client(namespace=namespace, timeout=60.0) as client,
        client.watch(values=True) as watch,
        ThreadPoolExecutor(1) as threads,
    ):

        def write() -> None:
            for number in range(count):
                client.state.put("k", number)
                if number in (20, 40):
                    daemon.restart(kill=True)

        writing = threads.submit(write)
        assert [next(watch).data for _ in range(count)] == list(range(count))
        writing.result()


def test_a_client_reads_its_own_asynchronous_writes(daemon: Daemon, namespace: tuple[str, ...]) -> None:
    with (
        daemon.client(namespace=namespace, durability="async", connections_max=4) as client,
        ThreadPoolExecutor(4) as threads,
    ):

        def write_and_read(thread: int) -> None:
            for number in range(50):
                client.state.put(f"k{thread}", number)
                record = client.state.get(f"k{thread}")
                assert record is not None
                assert record.value == number

        list(threads.map(write_and_read, range(4)))


def test_long_conversations_come_whole(daemon: Daemon, namespace: tuple[str, ...]) -> None:
    with daemon.client(namespace=namespace) as client:
        chat = client.conversations.create("long")
        text = "x" * 5_000
        for start in range(0, 2_500, 500):
            new = [NewMessage("user", f"{start + number} {text}", f"m{start + number}") for number in range(500)]
            client.conversations.append_many(chat.conversation_id, new)

        def numbers(**arguments: Any) -> list[int]:
            history = client.conversations.history("long", **arguments)
            assert history.total_messages == 2_500
            return [int(message.content.split()[0]) for message in history.messages]

        assert numbers() == list(range(2_500))
        assert numbers(last=1_200) == list(range(1_300, 2_500))
        assert numbers(before="m1500", last=1_100) == list(range(400, 1_500))
        assert numbers(after="m2400") == list(range(2_401, 2_500))
        assert sum(1 for _ in client.conversations.iterate("long")) == 2_500


def test_transactions_under_asyncio(daemon: Daemon, namespace: tuple[str, ...]) -> None:
    async def main() -> None:
        async with AsyncClient(daemon.url, namespace=namespace) as client:

            async def increment(transaction: AsyncTransaction) -> None:
                record = await transaction.state.get("counter")
                transaction.state.put("counter", record.value + 1 if record else 1)

            await asyncio.gather(*(client.transact(increment, attempts=500) for _ in range(20)))
            counter = await client.state.get("counter")
            assert counter is not None
            assert counter.value == 20

    asyncio.run(main())


def test_errors_name_the_field_they_are_about(daemon: Daemon, namespace: tuple[str, ...]) -> None:
    with daemon.client(namespace=namespace) as client:
        deep: list[Any] = []
        for _ in range(70):
            deep = [deep]
        with pytest.raises(errors.InvalidArgument) as raised:
            client.state.put("k", deep)
        assert raised.value.field == "value"
        with pytest.raises(errors.InvalidCursor):
            client.state.scan_page(cursor=b"nonsense")
        assert client.state.put("k", 1) == 1


def test_the_local_daemon_of_a_folder(tmp_path: Any) -> None:
    with Client.local(tmp_path / "memory", exit_when_idle=1) as client:
        client.state.put("k", 1)
    with Client.local(tmp_path / "memory", exit_when_idle=1) as client:
        record = client.state.get("k")
        assert record is not None
        assert record.value == 1
