"""Connections of the blocking client: many threads, few connections, forks, and the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import pytest

from client.fake import DROP_AFTER, IGNORE, WITHHOLD, Action, FakeDaemon, Received
from recollectd.client import Client
from recollectd.client.blocking import pool
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.logs import LogAppend
from recollectd.protocol.messages.state import StateGet, StatePut


def test_nothing_is_opened_before_it_is_needed(daemon: FakeDaemon) -> None:
    with Client(daemon.url):
        assert daemon.hellos == []


def test_one_thread_uses_one_connection(daemon: FakeDaemon, client: Client) -> None:
    for index in range(20):
        client.state.put(f"k{index}", index)
    assert len(daemon.hellos) == 1
    assert [received.header.number for received in daemon.received] == list(range(1, 21))


def test_threads_share_a_client(daemon: FakeDaemon) -> None:
    """More threads than connections: all are served, within the bound, in one session, each write once."""
    with Client(daemon.url, connections_max=3) as client, ThreadPoolExecutor(12) as threads:

        def work(thread: int) -> list[int]:
            log = f"log {thread}"
            return [client.logs.append(log, [step]).first for step in range(25)]

        assert list(threads.map(work, range(12))) == [list(range(25))] * 12
    assert len(daemon.hellos) <= 3
    assert len({hello.session_id for hello in daemon.hellos[1:]} | {next(iter(daemon.sessions))}) == 1
    assert sorted(received.header.number for received in daemon.received) == list(range(1, 301))
    for thread in range(12):
        values = [each.value for each in daemon.store.items[("default",), f"log {thread}"]]
        assert [bytes(value) for value in values] == [bytes([step]) for step in range(25)]


def test_threads_share_a_client_while_connections_break(daemon: FakeDaemon) -> None:
    count = [0]

    def script(received: Received) -> Action | None:
        count[0] += 1
        return DROP_AFTER if count[0] % 17 == 0 else None

    daemon.script = script
    with Client(daemon.url, connections_max=4) as client, ThreadPoolExecutor(8) as threads:

        def work(thread: int) -> list[int]:
            return [client.logs.append(f"log {thread}", [step]).first for step in range(25)]

        assert list(threads.map(work, range(8))) == [list(range(25))] * 8
    assert len(daemon.executed) == 200


def test_whoever_waits_longest_gets_the_connection_first(daemon: FakeDaemon) -> None:
    """Also when a busy thread gives it back and wants it again at once."""
    daemon.script = lambda received: WITHHOLD if isinstance(received.request, StateGet) else None
    with Client(daemon.url, connections_max=1) as client, ThreadPoolExecutor(3) as threads:
        busy = threads.submit(lambda: [client.state.get("busy") for _ in range(2)])
        daemon.wait(lambda: daemon.withheld == 1)
        waiting = threads.submit(client.state.put, "waiting", 1)
        wait_until(lambda: len(client._engine.pool._waiters) == 1)
        daemon.release()
        waiting.result(20)
        daemon.wait(lambda: daemon.withheld == 1)
        daemon.release()
        busy.result(20)
    assert [type(received.request) for received in daemon.received] == [StateGet, StatePut, StateGet]


def wait_until(predicate: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    reached = threading.Event()
    for _ in range(2_000):
        if predicate():
            return
        reached.wait(0.005)
    raise AssertionError("the awaited state did not come")


def test_the_line_is_kept(daemon: FakeDaemon) -> None:
    daemon.script = lambda received: WITHHOLD if isinstance(received.request, StateGet) else None
    with Client(daemon.url, connections_max=1) as client, ThreadPoolExecutor(4) as threads:
        busy = threads.submit(client.state.get, "busy")
        daemon.wait(lambda: daemon.withheld == 1)
        waiting = []
        for number in range(3):
            waiting.append(threads.submit(client.state.put, f"k{number}", number))
            wait_until(lambda: len(client._engine.pool._waiters) == len(waiting))
        daemon.release()
        busy.result(20)
        assert [each.result(20) for each in waiting] == [1, 1, 1]
    keys = [received.request.key for received in daemon.received if isinstance(received.request, StatePut)]
    assert keys == ["k0", "k1", "k2"]


def test_with_all_connections_in_use_a_call_times_out(daemon: FakeDaemon) -> None:
    daemon.script = lambda received: WITHHOLD
    with Client(daemon.url, connections_max=1) as client, ThreadPoolExecutor(1) as threads:
        busy = threads.submit(client.state.get, "k")
        daemon.wait(lambda: daemon.withheld == 1)
        with pytest.raises(errors.RequestTimeout, match="raise connections_max"):
            client.with_options(timeout=0.1).state.get("k")
        daemon.release()
        busy.result(20)


def test_idle_connections_are_closed_after_a_while(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE_S_MAX", 0.0)
    daemon.script = lambda received: WITHHOLD if isinstance(received.request, StateGet) else None
    with Client(daemon.url) as client, ThreadPoolExecutor(2) as threads:
        reads = [threads.submit(client.state.get, "k") for _ in range(2)]
        daemon.wait(lambda: daemon.withheld == 2)
        daemon.release()
        for read in reads:
            read.result(20)
        client.state.put("k", 1)
        daemon.wait(lambda: daemon.connections == 1)


def test_closing_wakes_whoever_waits(daemon: FakeDaemon) -> None:
    """For a reply, for a connection, and between attempts."""
    daemon.script = lambda received: IGNORE
    client = Client(daemon.url, connections_max=1)
    with ThreadPoolExecutor(2) as threads:
        for_reply = threads.submit(client.state.get, "k")
        daemon.wait(lambda: len(daemon.received) == 1)
        for_connection = threads.submit(client.state.get, "k")
        wait_until(lambda: len(client._engine.pool._waiters) == 1)
        client.close()
        for waiting in (for_reply, for_connection):
            with pytest.raises(errors.ClientClosed):
                waiting.result(20)
    with pytest.raises(errors.ClientClosed):
        client.ping()
    client.close()
    daemon.wait(lambda: daemon.connections == 0)


def test_closing_wakes_whoever_waits_for_the_window(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CLIENT_NUMBER_SPAN_MAX", 1)
    daemon.script = lambda received: IGNORE
    client = Client(daemon.url)
    with ThreadPoolExecutor(2) as threads:
        oldest = threads.submit(client.state.put, "k", 1)
        daemon.wait(lambda: len(daemon.received) == 1)
        held_back = threads.submit(client.state.put, "k", 2)
        wait_until(lambda: len(client._engine.pool.room._waiters) == 1)  # type: ignore[attr-defined]
        client.close()
        for waiting in (oldest, held_back):
            with pytest.raises(errors.ClientClosed):
                waiting.result(20)


def test_an_interrupted_wait_passes_on_what_it_was_granted(daemon: FakeDaemon, client: Client) -> None:
    """KeyboardInterrupt can come just when the turn has come: the connection must not be lost with it."""
    client.ping()
    shared = client._engine.pool
    channel = shared.lease(1e12)

    class Granted:
        def __init__(self) -> None:
            self.granted, self.channel, self.woken = False, None, self

        def acquire(self, timeout: float) -> None:
            shared.give_back(channel)
            assert self.granted
            raise KeyboardInterrupt

        def release(self) -> None:
            pass

    waiter = Granted()
    shared._waiters.append(waiter)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        shared._wait_in_line(waiter, 1e12)  # type: ignore[arg-type]
    client.ping()
    assert len(daemon.hellos) == 1


def test_closing_wakes_whoever_waits_for_another_attempt(daemon: FakeDaemon) -> None:
    daemon.refuse_hello = lambda hello: errors.Busy(retry_after_ms=9_000)
    client = Client(daemon.url)
    with ThreadPoolExecutor(1) as threads:
        waiting: Future[object] = threads.submit(client.state.get, "k")
        daemon.wait(lambda: len(daemon.hellos) == 1)
        client.close()
        with pytest.raises(errors.ClientClosed):
            waiting.result(20)


def test_the_window_holds_writes_back_until_the_oldest_is_answered(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CLIENT_NUMBER_SPAN_MAX", 8)
    daemon.script = lambda received: WITHHOLD if isinstance(received.request, LogAppend) else None
    with Client(daemon.url) as client, ThreadPoolExecutor(2) as threads:
        oldest = threads.submit(client.logs.append, "log", [1])
        daemon.wait(lambda: daemon.withheld == 1)
        for index in range(7):
            client.state.put(f"k{index}", index)
        held_back = threads.submit(client.state.put, "late", 1)
        wait_until(lambda: len(client._engine.pool.room._waiters) == 1)  # type: ignore[attr-defined]
        assert len(daemon.of_type(StatePut)) == 7
        daemon.release()
        assert oldest.result(20).next == 1
        assert held_back.result(20) == 1
    spans = [received.header.span for received in daemon.of_type(StatePut)]
    assert max(spans) == 7


def test_a_window_that_stays_full_is_a_timeout(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CLIENT_NUMBER_SPAN_MAX", 1)
    daemon.script = lambda received: WITHHOLD
    with Client(daemon.url) as client, ThreadPoolExecutor(1) as threads:
        oldest = threads.submit(client.state.put, "k", 1)
        daemon.wait(lambda: daemon.withheld == 1)
        with pytest.raises(errors.RequestTimeout, match="unanswered"):
            client.with_options(timeout=0.1).state.put("k", 2)
        daemon.release()
        oldest.result(20)


def test_a_client_is_refused_after_a_fork(daemon: FakeDaemon, client: Client) -> None:
    client.state.put("k", 1)
    view = client.with_namespace("other")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            told = []
            for call in (client.ping, lambda: view.state.get("k"), lambda: client.pipeline().__enter__().flush()):
                try:
                    call()
                    told.append("nothing")
                except errors.UsedAfterFork:
                    told.append("refused")
            client.close()
            os.write(writing, ",".join(told).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "refused,refused,nothing", "an empty pipeline asks for nothing"
    assert client.state.get("k") is not None, "the parent's connection is untouched"
    assert len(daemon.hellos) == 1


def test_a_child_can_let_go_of_a_client_whose_locks_are_held(daemon: FakeDaemon, client: Client) -> None:
    client.ping()
    with client._engine.pool.lock:
        child = os.fork()
        if not child:
            try:
                client.close()
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    client.ping()
    assert len(daemon.hellos) == 1


def test_an_interrupted_call_leaves_no_trace(daemon: FakeDaemon, client: Client) -> None:
    """KeyboardInterrupt ends a call anywhere: its connection is given up, and its number holds nothing up."""
    client.ping()
    daemon.script = lambda received: IGNORE if received.header.number == 1 else None
    channel_type = type(client._engine.pool._idle[0])
    receive = channel_type.receive

    def interrupted(*arguments: object) -> None:
        channel_type.receive = receive  # type: ignore[method-assign]
        raise KeyboardInterrupt

    channel_type.receive = interrupted  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyboardInterrupt):
        client.state.put("k", 1)
    assert client.state.put("k", 2) == 1
    assert (daemon.received[-1].header.number, daemon.received[-1].header.span) == (2, 0)
    assert all(first != second for first, second in pairwise(received.header.number for received in daemon.received))
