"""What is particular to the asyncio client: one connection for everything, cancellation, and the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from client.fake import DROP_AFTER, IGNORE, WITHHOLD, FakeDaemon, each_once, refuse
from recollectd.client import AsyncClient
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.logs import LogAppend
from recollectd.protocol.messages.state import StateGet, StatePut


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run a coroutine on each event loop."""
    return asyncio.run if request.param == "asyncio" else uvloop.run


Run = Callable[[Coroutine[Any, Any, None]], None]


async def until(daemon: FakeDaemon, predicate: Callable[[], bool]) -> None:
    await asyncio.to_thread(daemon.wait, predicate)


def test_calls_in_flight_together_share_one_connection(any_daemon: FakeDaemon, run: Run) -> None:
    async def main() -> None:
        async with AsyncClient(any_daemon.url) as client:
            await asyncio.gather(*(client.state.put(f"k{index}", index) for index in range(500)))
            records = await asyncio.gather(*(client.state.get(f"k{index}") for index in range(500)))
            assert [record.value for record in records if record is not None] == list(range(500))

    run(main())
    assert len(any_daemon.hellos) == 1
    assert [received.header.number for received in any_daemon.received[:500]] == list(range(1, 501))


def test_frames_of_one_turn_leave_together(daemon: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(daemon.url) as client:
            await client.ping()
            channel = client._engine.multiplexer._channel
            assert channel is not None
            transport: Any = channel._transport
            writes: list[int] = []

            class Counting:
                def __getattr__(self, name: str) -> Any:
                    return getattr(transport, name)

                def write(self, data: bytes) -> None:
                    writes.append(len(data))
                    transport.write(data)

            channel._transport = Counting()  # type: ignore[assignment]
            await asyncio.gather(*(client.state.put(f"k{index}", 1) for index in range(50)))
            assert len(writes) == 1

    asyncio.run(main())


def test_answers_out_of_order_find_their_calls(daemon: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(daemon.url) as client:
            await asyncio.gather(*(client.state.put(f"k{index}", index) for index in range(5)))
            daemon.script = lambda received: WITHHOLD
            reads = asyncio.gather(*(client.state.get(f"k{index}") for index in range(5)))
            await until(daemon, lambda: daemon.withheld == 5)
            daemon.release(lambda withheld: withheld.reverse())
            assert [record.value for record in await reads if record is not None] == list(range(5))

    asyncio.run(main())


def test_a_lost_connection_repeats_everything_in_flight_in_order(daemon: FakeDaemon, run: Run) -> None:
    daemon.script = lambda received: DROP_AFTER if (received.connection, received.header.number) == (1, 30) else None

    async def main() -> None:
        async with AsyncClient(daemon.url) as client:
            appended = await asyncio.gather(*(client.logs.append("log", [index]) for index in range(60)))
            assert [each.first for each in appended] == list(range(60))

    run(main())
    assert len(daemon.executed) == 60
    again = [received.header.number for received in daemon.received if received.connection == 2]
    assert again == list(range(again[0], 61))


def test_a_cancelled_write_holds_nothing_up_and_its_late_answer_harms_nobody(daemon: FakeDaemon, run: Run) -> None:
    daemon.script = lambda received: WITHHOLD if received.header.number == 1 else None

    async def main() -> None:
        async with AsyncClient(daemon.url) as client:
            write = asyncio.create_task(client.state.put("k", 1))
            await until(daemon, lambda: daemon.withheld == 1)
            write.cancel()
            with pytest.raises(asyncio.CancelledError):
                await write
            assert await client.state.put("other", 1) == 1
            assert daemon.received[-1].header.span == 0, "the daemon may forget the cancelled number"
            daemon.release()
            assert await client.state.put("k", 2) == 2
            assert client.position == 3

    run(main())
    assert len(daemon.hellos) == 1


def test_a_cancelled_write_is_not_repeated(daemon: FakeDaemon) -> None:
    daemon.script = lambda received: IGNORE if received.header.number == 1 else None

    async def main() -> None:
        async with AsyncClient(daemon.url) as client:
            write = asyncio.create_task(client.state.put("k", 1))
            await until(daemon, lambda: len(daemon.received) == 1)
            write.cancel()
            await asyncio.wait([write])
            daemon.drop_all()
            assert await client.state.put("k", 2) == 1

    asyncio.run(main())
    assert [received.header.number for received in daemon.received] == [1, 2]


def test_a_write_cancelled_before_it_was_sent_is_never_sent(daemon: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(daemon.url) as client:
            write = asyncio.create_task(client.state.put("k", 1))
            await asyncio.sleep(0)
            write.cancel()
            await asyncio.wait([write])
            assert await client.state.get("k") is None

    asyncio.run(main())
    assert daemon.of_type(StatePut) == []


def test_cancelling_frees_the_window(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CLIENT_NUMBER_SPAN_MAX", 4)
    daemon.script = lambda received: WITHHOLD if received.header.number == 1 else None

    async def main() -> None:
        async with AsyncClient(daemon.url) as client:
            oldest = asyncio.create_task(client.logs.append("log", [1]))
            await until(daemon, lambda: daemon.withheld == 1)
            others = [asyncio.create_task(client.state.put(f"k{index}", 1)) for index in range(10)]
            await until(daemon, lambda: len(daemon.of_type(StatePut)) == 3)
            oldest.cancel()
            assert await asyncio.gather(*others) == [1] * 10
            daemon.release()

    asyncio.run(main())
    assert max(received.header.span for received in daemon.received) <= 3


def test_giving_up_one_wait_for_a_handle_does_not_give_up_the_call(daemon: FakeDaemon) -> None:
    daemon.script = each_once(WITHHOLD, LogAppend)

    async def main() -> None:
        async with AsyncClient(daemon.url) as client, client.pipeline() as pipeline:
            handle = pipeline.logs.append("log", [1])
            await until(daemon, lambda: daemon.withheld == 1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await handle
            assert not handle.done
            daemon.release()
            assert (await handle).next == 1
            assert (await handle).next == 1

    asyncio.run(main())


def test_a_refused_call_delays_no_other(daemon: FakeDaemon) -> None:
    daemon.script = lambda received: (
        refuse(errors.Busy(retry_after_ms=5_000)) if isinstance(received.request, LogAppend) else None
    )

    async def main() -> None:
        async with AsyncClient(daemon.url, timeout=10) as client:
            refused = asyncio.create_task(client.logs.append("log", [1]))
            await until(daemon, lambda: len(daemon.of_type(LogAppend)) == 1)
            assert await client.state.put("k", 1) == 1
            assert not refused.done()
            refused.cancel()

    asyncio.run(main())


def test_a_daemon_that_never_says_a_word_again_is_left(daemon: FakeDaemon) -> None:
    """A half-open connection: what times out on it gives it up, and the others go on over another one."""
    daemon.script = lambda received: IGNORE if received.connection == 1 else None

    async def main() -> None:
        async with AsyncClient(daemon.url) as client:
            patient = asyncio.create_task(client.state.get("k"))
            with pytest.raises(errors.RequestTimeout):
                await client.with_options(timeout=0.1).state.get("k")
            assert await patient is None

    asyncio.run(main())
    assert len(daemon.hellos) == 2
    assert len(daemon.of_type(StateGet)) == 3


def test_a_connection_lost_as_soon_as_it_was_made_is_not_used(daemon: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(daemon.url) as client:
            connector = client._connector
            connect = connector.connect

            async def lost(*arguments: Any) -> Any:
                connector.connect = connect  # type: ignore[method-assign]
                channel = await connect(*arguments)
                await channel.close()
                return channel

            connector.connect = lost  # type: ignore[method-assign,assignment]
            assert await client.state.put("k", 1) == 1

    asyncio.run(main())
    assert len(daemon.hellos) == 2


def test_calls_given_up_do_not_pile_up_while_no_daemon_answers(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(f"unix://{tmp_path}/none", timeout=0.05) as client:
            for _ in range(3):
                calls = [client.state.put(f"k{index}", 1) for index in range(10)]
                for outcome in await asyncio.gather(*calls, return_exceptions=True):
                    assert isinstance(outcome, errors.DaemonUnavailable)
            assert len(client._engine.multiplexer._queue) == 0

    asyncio.run(main())


def test_closing_ends_every_call(daemon: FakeDaemon, run: Run) -> None:
    daemon.script = lambda received: IGNORE

    async def main() -> None:
        client = AsyncClient(daemon.url)
        calls = [asyncio.create_task(client.state.put(f"k{index}", 1)) for index in range(3)]
        await until(daemon, lambda: len(daemon.received) == 3)
        await client.close()
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, errors.ClientClosed)
        with pytest.raises(errors.ClientClosed):
            await client.ping()
        await client.close()
        await until(daemon, lambda: daemon.connections == 0)

    run(main())


def test_closing_ends_the_search_for_a_daemon(daemon: FakeDaemon) -> None:
    daemon.refuse_hello = lambda hello: errors.Busy(retry_after_ms=9_000)

    async def main() -> None:
        client = AsyncClient(daemon.url)
        call = asyncio.create_task(client.ping())
        await until(daemon, lambda: len(daemon.hellos) == 1)
        await client.close()
        with pytest.raises(errors.ClientClosed):
            await call

    asyncio.run(main())


def test_a_client_belongs_to_one_event_loop(daemon: FakeDaemon) -> None:
    async def use(client: AsyncClient) -> None:
        await client.ping()

    async def main() -> None:
        async with AsyncClient(daemon.url) as client:
            await client.ping()
            with pytest.raises(RuntimeError, match="event loop"):
                await asyncio.to_thread(lambda: asyncio.run(use(client)))

    asyncio.run(main())


def test_a_client_is_refused_after_a_fork(daemon: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(daemon.url) as client:
            await client.ping()
            child = os.fork()
            if not child:
                try:
                    client.state.get("k").send(None)
                except errors.UsedAfterFork:
                    os._exit(7)
                finally:
                    os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            await client.ping()

    asyncio.run(main())
    assert len(daemon.hellos) == 1


def test_nothing_written_is_more_than_the_daemon_takes(daemon: FakeDaemon) -> None:
    """Many large writes: what the socket does not take waits in the queue, not in the transport."""

    async def main() -> None:
        async with AsyncClient(daemon.url, timeout=60) as client:
            value = b"x" * 1_000_000
            highest = 0
            calls = [asyncio.create_task(client.state.put(f"k{index}", value)) for index in range(40)]
            while not all(call.done() for call in calls):
                await asyncio.sleep(0)
                channel = client._engine.multiplexer._channel
                if channel is not None and channel._transport is not None:
                    highest = max(highest, channel._transport.get_write_buffer_size())
            assert 0 < highest < 4_000_000
            assert [call.result() for call in calls] == [1] * 40

    asyncio.run(main())
