"""Lost connections, refusals and restarts: every write happens once, and the caller is told the truth."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from client.conftest import Drive
from client.fake import DROP, DROP_AFTER, IGNORE, Action, FakeDaemon, Received, Script, each_once, refuse
from recollectd.client import Client
from recollectd.protocol import errors
from recollectd.protocol.messages.logs import LogAppend
from recollectd.protocol.messages.state import StateGet, StatePut


def times(count: int, action: Action, kind: type) -> Script:
    """Take an action on the first so many requests of a type."""
    left = [count]

    def script(received: Received) -> Action | None:
        if isinstance(received.request, kind) and left[0]:
            left[0] -= 1
            return action
        return None

    return script


@pytest.mark.parametrize("action", [DROP, DROP_AFTER])
@pytest.mark.parametrize("count", [1, 3])
def test_a_write_cut_off_happens_once_and_gets_its_reply(
    daemon: FakeDaemon, drive: Drive, action: Action, count: int
) -> None:
    daemon.script = times(count, action, LogAppend)
    with drive(daemon) as driver:
        assert driver.do(lambda: driver.client.logs.append("log", [1])).next == 1
    attempts = daemon.of_type(LogAppend)
    assert len(attempts) == count + 1
    assert len({attempt.body for attempt in attempts}) == 1, "a retry is the same to the byte"
    assert {attempt.header.number for attempt in attempts} == {1}
    assert len({attempt.connection for attempt in attempts}) == count + 1
    assert len({hello.session_id for hello in daemon.hellos[1:]}) == 1
    assert len(daemon.executed) == 1


def test_the_reply_of_a_write_cut_off_is_not_a_conflict_with_itself(daemon: FakeDaemon, drive: Drive) -> None:
    daemon.script = each_once(DROP_AFTER, StatePut)
    with drive(daemon) as driver:
        assert driver.do(lambda: driver.client.state.put("k", 1, if_absent=True)) == 1


@pytest.mark.parametrize("action", [DROP, DROP_AFTER])
def test_reads_are_repeated(daemon: FakeDaemon, drive: Drive, action: Action) -> None:
    daemon.script = times(2, action, StateGet)
    with drive(daemon) as driver:
        assert driver.do(lambda: driver.client.state.get("k")) is None
    assert len(daemon.of_type(StateGet)) == 3


@pytest.mark.parametrize(
    "error",
    [errors.Busy("full", retry_after_ms=5), errors.ShuttingDown(), errors.TooManyConnections(retry_after_ms=1)],
)
@pytest.mark.parametrize("kind", [StatePut, StateGet])
def test_refusals_for_now_are_waited_out(
    daemon: FakeDaemon, drive: Drive, error: errors.RecollectdError, kind: type
) -> None:
    daemon.script = times(2, refuse(error), kind)
    with drive(daemon) as driver:
        driver.do(lambda: driver.client.state.put("k", 1))
        assert driver.do(lambda: driver.client.state.get("k")).value == 1
    assert len(daemon.of_type(kind)) == 3
    assert len(daemon.executed) == 1


@pytest.mark.parametrize("error", [errors.Busy(retry_after_ms=60_000), errors.ShuttingDown(retry_after_ms=60_000)])
def test_a_refusal_longer_than_the_timeout_is_raised(
    daemon: FakeDaemon, drive: Drive, error: errors.RecollectdError
) -> None:
    daemon.script = lambda received: refuse(error)
    with drive(daemon, timeout=0.3) as driver, pytest.raises(type(error)):
        driver.do(lambda: driver.client.state.put("k", 1))


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidArgument("bad", field="key"),
        errors.NotFound(),
        errors.DiskFull(),
        errors.DeadlineExceeded(),
        errors.InternalError("defect", error_id="e-1"),
    ],
)
def test_other_errors_are_raised_at_once_with_everything_they_say(
    daemon: FakeDaemon, drive: Drive, error: errors.RecollectdError
) -> None:
    daemon.script = lambda received: refuse(error)
    with drive(daemon) as driver, pytest.raises(type(error)) as raised:
        driver.do(lambda: driver.client.state.put("k", 1))
    assert (raised.value.message, raised.value.field) == (error.message, error.field)
    assert raised.value.error_id == error.error_id
    assert len(daemon.received) == 1


def test_hellos_refused_for_now_are_repeated(daemon: FakeDaemon, drive: Drive) -> None:
    daemon.refuse_hello = lambda hello: errors.TooManyConnections(retry_after_ms=1)
    with drive(daemon) as driver:
        call = background(driver, lambda: driver.client.state.put("k", 1))
        daemon.wait(lambda: len(daemon.hellos) >= 3)
        daemon.refuse_hello = lambda hello: None
        assert call() == 1


def test_hellos_refused_for_good_are_raised(daemon: FakeDaemon, drive: Drive) -> None:
    daemon.refuse_hello = lambda hello: errors.UnsupportedProtocol("too old")
    with drive(daemon) as driver, pytest.raises(errors.UnsupportedProtocol, match="too old"):
        driver.do(lambda: driver.client.ping())
    assert len(daemon.hellos) == 1


def background(driver: Any, function: Callable[[], Any]) -> Callable[[], Any]:
    """Begin a call in a thread; what is returned waits for its result."""
    executor = ThreadPoolExecutor(1)
    future = executor.submit(driver.do, function)

    def result() -> Any:
        try:
            return future.result(20)
        finally:
            executor.shutdown()

    return result


def test_a_daemon_that_comes_back_is_waited_for(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        driver.do(lambda: driver.client.state.put("k", 1))
        daemon.stop()
        call = background(driver, lambda: driver.client.state.put("k", 2))
        daemon.listen()
        assert call() == 2
    assert len(daemon.executed) == 2


def test_no_daemon_within_the_timeout_is_said(tmp_path: Path, drive: Drive) -> None:
    nobody = pytest.raises(errors.DaemonUnavailable, match="no daemon answers at unix://")
    with drive(FakeDaemon(tmp_path / "none"), timeout=0.2) as driver, nobody:
        driver.do(lambda: driver.client.state.put("k", 1))


def test_a_socket_that_may_not_be_opened_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    class Closed(socket.socket):
        def connect(self, address: Any) -> None:
            attempts.append(address)
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", Closed)
    with Client(f"unix://{tmp_path}/closed") as client, pytest.raises(errors.DaemonUnavailable, match="denied"):
        client.ping()
    assert len(attempts) == 1


def test_a_silent_daemon_makes_a_write_uncertain_and_a_read_late(daemon: FakeDaemon, drive: Drive) -> None:
    daemon.script = lambda received: IGNORE
    with drive(daemon, timeout=0.2) as driver:
        with pytest.raises(errors.RequestTimeout, match="may or may not"):
            driver.do(lambda: driver.client.state.put("k", 1))
        with pytest.raises(errors.RequestTimeout, match="no reply"):
            driver.do(lambda: driver.client.state.get("k"))
        daemon.script = None
        assert driver.do(lambda: driver.client.state.put("k", 2)) == 1
    assert daemon.received[-1].header.span == 0, "the number given up holds nothing up"
    assert daemon.received[-1].header.number == 2


def test_a_write_cut_off_with_nobody_coming_back_is_uncertain(daemon: FakeDaemon, drive: Drive) -> None:
    def script(received: Received) -> Action:
        daemon.stop()
        return DROP_AFTER

    daemon.script = script
    with drive(daemon, timeout=0.5) as driver, pytest.raises(errors.RequestTimeout) as raised:
        driver.do(lambda: driver.client.state.put("k", 1))
    assert isinstance(raised.value.__cause__, (errors.DaemonUnavailable, errors.ConnectionLost))


@pytest.mark.parametrize("action", [DROP, DROP_AFTER])
def test_a_forgotten_session_makes_a_write_cut_off_uncertain(daemon: FakeDaemon, drive: Drive, action: Action) -> None:
    def script(received: Received) -> Action | None:
        if len(daemon.received) == 2:
            daemon.forget_sessions()
            return action
        return None

    with drive(daemon) as driver:
        driver.do(lambda: driver.client.state.put("k", 1))
        daemon.script = script
        with pytest.raises(errors.OutcomeUnknown, match="forgotten"):
            driver.do(lambda: driver.client.state.put("k", 2))
        assert len(daemon.of_type(StatePut)) == 2, "never sent again"
        driver.do(lambda: driver.client.state.put("k", 3))
        assert daemon.received[-1].header.number == 1, "the new session counts anew"
    assert daemon.hellos[-1].session_id == daemon.hellos[1].session_id != b""


def test_a_forgotten_session_is_no_matter_to_reads_and_new_writes(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        driver.do(lambda: driver.client.state.put("k", 1))
        daemon.forget_sessions()
        daemon.drop_all()
        daemon.wait(lambda: daemon.connections == 0)
        assert driver.do(lambda: driver.client.state.get("k")).value == 1
        assert driver.do(lambda: driver.client.state.put("k", 2)) == 2
    assert daemon.received[-1].header.number == 1


def test_a_write_refused_for_now_survives_a_forgotten_session(daemon: FakeDaemon, drive: Drive) -> None:
    """Nothing was executed: it is numbered anew and sent."""

    def script(received: Received) -> Action | None:
        if len(daemon.of_type(StatePut)) == 2:
            daemon.forget_sessions()
            return Action(execute=False, instead=refuse(errors.Busy()).instead, close=True)
        return None

    with drive(daemon) as driver:
        driver.do(lambda: driver.client.state.put("k", 1))
        daemon.script = script
        assert driver.do(lambda: driver.client.state.put("k", 2)) == 2
    assert len(daemon.executed) == 2


def test_a_session_of_another_store_is_left_behind(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        driver.do(lambda: driver.client.state.put("k", 1))
        daemon.store_id, daemon.store.position = b"T" * 16, 0
        daemon.refuse_hello = lambda hello: errors.SessionForeign() if hello.session_id else None
        daemon.drop_all()
        daemon.wait(lambda: daemon.connections == 0)
        assert driver.do(lambda: driver.client.state.get("k")) is not None
        assert daemon.received[-1].header.after == 0, "positions of the old store say nothing"
        driver.do(lambda: driver.client.state.put("k", 2))
        assert daemon.received[-1].header.number == 1


def test_reads_do_not_wait_for_what_a_loss_of_power_took_back(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon, durability="async") as driver:
        for _ in range(3):
            driver.do(lambda: driver.client.state.put("k", 1))
        daemon.store.position = 1
        daemon.drop_all()
        assert driver.do(lambda: driver.client.state.get("k")) is not None
        assert driver.client.position == 0
        driver.do(lambda: driver.client.state.put("k", 1))
        assert driver.client.position == 2


def test_idle_connections_closed_by_the_daemon_are_replaced_unnoticed(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        for _ in range(3):
            driver.do(lambda: driver.client.state.put("k", 1))
            daemon.drop_all()
            daemon.wait(lambda: daemon.connections == 0)
    assert len(daemon.received) == 3, "not one request was risked on a dead connection"


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 64])
def test_something_else_at_the_address_is_said(daemon: FakeDaemon, drive: Drive, garbage: bytes) -> None:
    daemon.greet = lambda connection: connection.sendall(garbage)
    with drive(daemon, timeout=1) as driver, pytest.raises(errors.ProtocolError):
        driver.do(lambda: driver.client.ping())
