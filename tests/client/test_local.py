"""The daemon of a folder: found, started once by many, started again, and told about when it does not start."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from client.fake import FakeDaemon
from recollectd.client import AsyncClient, Client, local
from recollectd.protocol import errors

TESTS = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose daemons are fakes, ended with the test."""
    program = (sys.executable, str(TESTS / "client" / "fake_serve.py"))
    monkeypatch.setattr(local.LocalDaemon.__init__, "__defaults__", (program,))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent / "daemon")]))
    place = tmp_path / "memory"
    yield place
    for process in began(place):
        with_ended(process)


def began(folder: Path) -> list[int]:
    """Return the processes that were started for a folder."""
    log = folder / "daemon.log"
    return [int(found) for found in re.findall(r"^began (\d+)", log.read_text(), re.MULTILINE)] if log.exists() else []


def with_ended(process: int) -> None:
    """End a daemon that this process started, and wait for it."""
    try:
        os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def test_the_daemon_is_started_and_then_found(folder: Path) -> None:
    with Client.local(folder, exit_when_idle=7) as client, Client.local(str(folder)) as other:
        assert client.state.put("k", 1) == 1
        assert other.state.get("k") is not None
    assert len(began(folder)) == 1
    assert f"began {began(folder)[0]} 7" in (folder / "daemon.log").read_text()


def test_under_asyncio_too(folder: Path) -> None:
    async def main() -> None:
        async with await AsyncClient.local(folder) as client:
            await client.state.put("k", 1)
            with_ended(began(folder)[0])
            assert await client.state.put("k", 2) == 1, "a fake remembers nothing"

    asyncio.run(main())
    assert len(began(folder)) == 2


def test_many_at_once_start_one(folder: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        clients = list(threads.map(lambda _: Client.local(folder), range(8)))
    for client in clients:
        client.close()
    assert len(began(folder)) == 1


def test_processes_share_it(folder: Path) -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[2:4]\n"
        "from recollectd.client import Client, local\n"
        "local.LocalDaemon.__init__.__defaults__ = ((sys.executable, sys.argv[2] + '/client/fake_serve.py'),)\n"
        "with Client.local(sys.argv[1]) as client: print(client.logs.append('log', [1]).first)"
    )
    command = [sys.executable, "-c", program, str(folder), str(TESTS), str(TESTS.parent / "daemon")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate(timeout=60)[0] for process in processes]
    assert sorted(int(line) for line in told) == [0, 1, 2]
    assert len(began(folder)) == 1
    os.kill(began(folder)[0], signal.SIGTERM)


def test_a_daemon_that_ended_is_started_again_by_the_next_call(folder: Path) -> None:
    with Client.local(folder) as client:
        client.state.put("k", 1)
        with_ended(began(folder)[0])
        client.state.put("k", 1)
    assert len(began(folder)) == 2


def test_a_daemon_that_does_not_start_shows_the_end_of_its_log(folder: Path) -> None:
    folder.mkdir()
    (folder / "broken").touch()
    with pytest.raises(errors.DaemonUnavailable, match="ended at its start") as raised:
        Client.local(folder)
    assert "the records are damaged: segment 7" in str(raised.value)


def test_a_daemon_that_does_not_start_again_is_not_started_over_and_over(folder: Path) -> None:
    with Client.local(folder) as client:
        client.ping()
        with_ended(began(folder)[0])
        (folder / "broken").touch()
        with pytest.raises(errors.DaemonUnavailable, match="ended at its start"):
            client.ping()
    assert len(began(folder)) == 2


def test_a_daemon_that_still_starts_is_waited_for_and_not_started_twice(folder: Path) -> None:
    """Its recovery took longer than the call that started it."""
    folder.mkdir()
    os.mkfifo(folder / "gate")
    with pytest.raises(errors.DaemonUnavailable, match="not ready within the timeout"):
        local.LocalDaemon(folder, 60).start(monotonic() + 1.0)
    (folder / "gate").write_bytes(b"")
    with Client.local(folder) as client:
        client.ping()
    assert len(began(folder)) == 1


def test_a_folder_that_another_daemon_takes_meanwhile_is_shared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody starts a daemon by hand just then: ours ends at its start, and theirs is found."""
    folder.mkdir()
    (folder / "broken").touch()
    theirs = FakeDaemon(folder / "recollectd.sock")
    asked = []

    def in_use(daemon: local.LocalDaemon) -> bool:
        asked.append(True)
        if len(asked) == 2:
            theirs.listen()
        return len(asked) == 2

    monkeypatch.setattr(local.LocalDaemon, "_folder_in_use", in_use)
    with Client.local(folder) as client:
        client.ping()
    theirs.__exit__(None, None, None)


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.DaemonUnavailable, match=r"cannot be started: .*Not a directory"):
        Client.local(tmp_path / "file" / "memory")


def test_missing_packages_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_NEEDED", ("rocksdict", "no_such_package"))
    with pytest.raises(errors.DaemonUnavailable, match=r"no_such_package must be .*recollectd\[daemon\]"):
        Client.local(folder)


def test_a_folder_whose_path_is_too_long_for_a_socket_works(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    long = folder / ("long " * 30)
    with Client.local(long) as client:
        client.ping()
        assert (long / "recollectd.sock").exists()
    (process,) = began(long)
    with_ended(process)


def test_a_start_that_hangs_elsewhere_is_not_waited_for_for_ever(folder: Path) -> None:
    folder.mkdir()
    descriptor = os.open(folder / ".start-lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(errors.DaemonUnavailable, match="for too long"):
            local.LocalDaemon(folder, 60).start(monotonic())
    finally:
        os.close(descriptor)


def test_a_time_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(errors.InvalidArgument) as raised:
        Client.local(folder, exit_when_idle=0)
    assert raised.value.field == "exit_when_idle"
