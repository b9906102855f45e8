"""A daemon as a process: how it starts, what keeps it from starting, and every way in which it ends."""

from __future__ import annotations

import json
import signal
import socket
import stat
import threading
from pathlib import Path

import pytest

from recollectd.protocol import errors, frames
from recollectd.protocol.messages import connection as messages
from recollectd.protocol.messages import conversations, logs, state
from recollectd.server.daemon import _log_unexpected
from server.conftest import MakeDaemon, StartDaemon
from support.daemon_process import DaemonProcess
from support.wire import NAMESPACE, Wire, expect, get, plain, put, raw, refusal

MIB = 1024 * 1024
EXIT_CANNOT_LISTEN = 69
EXIT_FATAL = 70


def entries(wire: Wire, log_id: str) -> list[object]:
    page = expect(logs.LogPage, wire.ask(logs.LogRead(NAMESPACE, log_id, limit=10_000)))
    return [plain(item.value) for item in page.items]


# -- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_end(start_daemon: StartDaemon, number: signal.Signals) -> None:
    daemon = start_daemon().ready()
    with daemon.connect() as wire:
        wire.ask(put("k", 1))
        assert daemon.end(number) == 0
        assert wire.rest() == []
    assert not daemon.socket.exists()
    assert "stopped" in daemon.log
    again = start_daemon().ready()
    assert "0 commits replayed" in again.log
    with again.connect() as wire:
        assert plain(expect(state.StateRecord, wire.ask(get("k"))).value) == 1


def test_what_is_under_way_is_finished_before_the_end(start_daemon: StartDaemon) -> None:
    daemon = start_daemon().ready()
    with daemon.connect() as wire:
        ids = [wire.send(logs.LogAppend(NAMESPACE, "l", (raw(index),))) for index in range(2_000)]
        assert wire.wait(ids[0]).position
        daemon.process.terminate()
        answers = {answer.request_id: answer.reply for answer in wire.rest()}
    assert daemon.wait() == 0
    stored = [index for index, request_id in enumerate(ids) if isinstance(answers.get(request_id), logs.LogAppended)]
    refused = [reply for reply in answers.values() if isinstance(reply, messages.ErrorReply)]
    assert {reply.code for reply in refused} <= {errors.ShuttingDown.row.code}
    with start_daemon().ready().connect() as wire:
        assert entries(wire, "l") == [0, *stored]


def test_a_stop_does_not_wait_for_ever(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(server__drain_timeout_s=1).ready()
    with stuck_client(daemon):
        assert daemon.end() == 0
    assert "still under way" in daemon.log


def test_a_second_signal_ends_at_once(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(server__drain_timeout_s=3_600).ready()
    with stuck_client(daemon):
        daemon.process.terminate()
        daemon.wait_for_log("stopping")
        assert daemon.end() == 0
    assert "asked a second time" in daemon.log
    start_daemon().ready()


def stuck_client(daemon: DaemonProcess) -> Wire:
    """Return a client that asked for much and takes nothing of it."""
    wire = daemon.connect()
    wire.ask(put("large", bytes(MIB)))
    wire.socket.sendall(b"".join(wire.prepare(get("large"))[0] for _ in range(200)))
    with daemon.connect() as other:
        # The daemon reads connections in turn: what the first one sent has been taken when this is answered.
        other.ask(get("large"))
    return wire


def test_acknowledged_writes_survive_a_kill(start_daemon: StartDaemon) -> None:
    """Also asynchronous ones: they are in the journal's file, and the file is the kernel's."""
    daemon = start_daemon().ready()
    acknowledged: dict[str, list[int]] = {}
    begun = threading.Barrier(4)

    def write(name: str, flags: int) -> None:
        mine = acknowledged[name] = []
        with daemon.connect() as wire:
            wire.send(logs.LogAppend(NAMESPACE, name, (raw(0),)), flags=flags)
            begun.wait()
            try:
                for index in range(1, 1_000_000):
                    wire.send(logs.LogAppend(NAMESPACE, name, (raw(index),)), flags=flags)
                    mine.append(expect(logs.LogAppended, wire.receive().reply).first)
            except (OSError, EOFError):
                return

    threads = [threading.Thread(target=write, args=(f"{flags}", flags)) for flags in (0, frames.FLAG_ASYNC)]
    threads.append(threading.Thread(target=write, args=("third", 0)))
    for thread in threads:
        thread.start()
    begun.wait()
    with daemon.connect() as wire:
        for value in range(200):
            wire.ask(put("k", value))
    daemon.kill()
    for thread in threads:
        thread.join()
    with start_daemon().ready().connect() as wire:
        assert plain(expect(state.StateRecord, wire.ask(get("k"))).value) == 199
        for name, firsts in acknowledged.items():
            found = entries_of_all_pages(wire, name)
            assert found == list(range(len(found)))
            assert len(firsts) <= len(found)
            assert firsts == list(range(len(firsts)))


def entries_of_all_pages(wire: Wire, log_id: str) -> list[object]:
    found: list[object] = []
    while True:
        page = expect(logs.LogPage, wire.ask(logs.LogRead(NAMESPACE, log_id, start=len(found), limit=10_000)))
        found += [plain(item.value) for item in page.items]
        if len(found) == page.next:
            return found


def test_a_daemon_that_nobody_uses_ends_if_it_shall(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(server__exit_when_idle_s=1).ready()
    with daemon.connect() as wire:
        wire.ask(put("k"))
        assert daemon.process.poll() is None
    assert daemon.wait() == 0
    assert "nobody is connected" in daemon.log


def test_an_idle_connection_is_ended(start_daemon: StartDaemon) -> None:
    daemon = start_daemon().ready()
    hello = messages.Hello(1, 1, "idle", b"", 100)
    with Wire(daemon.socket, hello=hello) as idle, Wire(daemon.socket) as other:
        assert idle.rest() == []
        expect(messages.Pong, other.ask(messages.Ping()))


# -- starts -----------------------------------------------------------------------------------------------------------


def test_one_daemon_per_folder(start_daemon: StartDaemon) -> None:
    first = start_daemon().ready()
    second = start_daemon()
    assert second.wait() == EXIT_FATAL
    assert f"process {first.process.pid} " in second.log
    assert str(first.socket) in second.log
    with first.connect() as wire:
        expect(messages.Pong, wire.ask(messages.Ping()))


def test_the_socket_of_a_killed_daemon_is_replaced(start_daemon: StartDaemon) -> None:
    first = start_daemon().ready()
    first.kill()
    assert first.socket.exists()
    with start_daemon().ready().connect() as wire:
        expect(messages.Pong, wire.ask(messages.Ping()))


def test_what_is_no_socket_is_left_alone(start_daemon: StartDaemon, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.write_text("precious")
    daemon = start_daemon()
    assert daemon.wait() == EXIT_CANNOT_LISTEN
    assert str(path) in daemon.log
    assert path.read_text() == "precious"
    path.unlink()
    start_daemon().ready()


def test_the_socket_of_another_daemon_is_left_alone(start_daemon: StartDaemon, tmp_path: Path) -> None:
    first = start_daemon().ready()
    second = start_daemon(data__directory=tmp_path / "other")
    assert second.wait() == EXIT_CANNOT_LISTEN
    assert "another process listens here" in second.log
    with first.connect() as wire:
        expect(messages.Pong, wire.ask(messages.Ping()))


def test_a_socket_in_a_folder_that_is_not_there(start_daemon: StartDaemon, tmp_path: Path) -> None:
    daemon = start_daemon(listen__socket=tmp_path / "nowhere" / "socket")
    assert daemon.wait() == EXIT_CANNOT_LISTEN
    assert "nowhere" in daemon.log


@pytest.mark.parametrize(("option", "mode"), [(None, 0o660), ("0600", 0o600), ("0666", 0o666)])
def test_the_sockets_permissions(start_daemon: StartDaemon, option: str | None, mode: int) -> None:
    options = {} if option is None else {"listen__socket_mode": option}
    daemon = start_daemon(**options).ready()
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == mode
    assert stat.S_IMODE((daemon.folder / "data").stat().st_mode) == 0o700


def test_damage_keeps_it_from_starting(start_daemon: StartDaemon, tmp_path: Path) -> None:
    daemon = start_daemon().ready()
    with daemon.connect() as wire:
        for index in range(50):
            wire.ask(put(f"{index}", bytes(1_000)))
    daemon.kill()
    (segment,) = [path for path in (tmp_path / "data" / "journal").glob("*.segment") if path.name[0].isdigit()][:1]
    data = bytearray(segment.read_bytes())
    data[10_000] ^= 0xFF
    segment.write_bytes(data)
    again = start_daemon()
    assert again.wait() == EXIT_FATAL
    assert "cannot start" in again.log
    assert segment.name in again.log
    assert "ready" not in again.log


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_several_listeners_at_once(start_daemon: StartDaemon) -> None:
    port = free_port()
    daemon = start_daemon(listen__tcp=f"127.0.0.1:{port}").ready()
    assert f"tcp://127.0.0.1:{port}" in daemon.log
    with daemon.connect() as local, Wire(("127.0.0.1", port)) as remote:
        local.ask(put("k", 1))
        assert plain(expect(state.StateRecord, remote.ask(get("k"))).value) == 1
        expect(state.StateStored, remote.ask(put("k", 2)))
        assert remote.welcome.principal != local.welcome.principal
        stolen = messages.Hello(1, 1, "thief", local.welcome.session_id)
        with Wire(("127.0.0.1", port), hello=None) as thief:
            thief.socket.sendall(frames.PREAMBLE)
            assert refusal(thief.ask(stolen)) == (errors.SessionForeign.row.code, "session_id")


def test_an_ipv6_address_is_told_as_a_url(start_daemon: StartDaemon) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        port = probe.getsockname()[1]
    daemon = start_daemon(listen__tcp=f"[::1]:{port}").ready()
    assert f"tcp://[::1]:{port}" in daemon.log


def test_a_port_that_is_taken(start_daemon: StartDaemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon = start_daemon(listen__tcp=f"127.0.0.1:{taken.getsockname()[1]}")
        assert daemon.wait() == EXIT_CANNOT_LISTEN
    assert not daemon.socket.exists()


# -- the log ----------------------------------------------------------------------------------------------------------

SECRET = "s3cr3t-of-the-user"


def speak_of(wire: Wire) -> None:
    """Say the secret in every place that holds users' data, in requests that are fulfilled and in others."""
    message = conversations.NewMessage("user", SECRET, None, None, raw({"note": SECRET}))
    for request in (
        put("k", SECRET),
        put("k", SECRET, if_version=77),
        put("k", {SECRET: [SECRET]}, sliding=True),
        logs.LogAppend(NAMESPACE, "l", (raw(SECRET),)),
        logs.LogAppend(NAMESPACE, "l", (raw([SECRET]), raw(SECRET)), 99),
        conversations.ConversationCreate(NAMESPACE, "c", raw({"note": SECRET})),
        conversations.ConversationAppend(NAMESPACE, "c", (message,)),
        conversations.ConversationAppend(NAMESPACE, "nowhere", (message,)),
        state.StateScan(NAMESPACE, cursor=SECRET.encode()),
        get("k"),
        logs.LogPopLast(NAMESPACE, "l"),
        state.StateHistory(NAMESPACE, "k"),
        conversations.ConversationHistory(NAMESPACE, "c"),
    ):
        wire.ask(request)
    wire.ask(b"\x95\x10\x91\xa1a\xa1k" + bytes(raw(SECRET)) + bytes(raw(SECRET)), number=1_000)
    wire.ask(bytes(raw(SECRET)))


def test_values_are_never_logged(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(server__log_level="debug", server__slow_log_ms=1).ready()
    with daemon.connect() as wire:
        speak_of(wire)
        wire.socket.sendall(SECRET.encode() * 10)
        wire.rest()
    with Wire(daemon.socket, hello=None) as wire:
        wire.socket.sendall(SECRET.encode())
        wire.rest()
    daemon.end()
    assert daemon.log
    assert SECRET not in daemon.log
    daemon = start_daemon(server__log_level="debug").ready()
    daemon.kill()
    assert SECRET not in daemon.log


def test_the_log_as_json(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(server__log_format="json").ready()
    daemon.end()
    lines = [json.loads(line) for line in daemon.log.splitlines()]
    assert {"ready", "stopped"} <= {line["message"].split()[0] for line in lines}
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)


def test_what_goes_wrong_in_the_loop_is_logged_without_arguments(
    make_daemon: MakeDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop's own handler would log the callback with its arguments: users' values among them."""
    manual = make_daemon()

    def breaks(value: str) -> None:
        raise ZeroDivisionError

    manual.loop.set_exception_handler(_log_unexpected)
    manual.loop.call_soon(breaks, SECRET)
    manual.loop.settle()
    assert "ZeroDivisionError" in caplog.text
    assert SECRET not in caplog.text
