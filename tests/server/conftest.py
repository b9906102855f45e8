"""Daemons for the tests of the server: as a process for a whole module, as processes of one test, and by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from recollectd.config.tree import Config
from support.daemon_process import DaemonProcess
from support.manual_daemon import ManualDaemon

StartDaemon = Callable[..., DaemonProcess]
MakeDaemon = Callable[..., ManualDaemon]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon that all tests of a module talk to; it must live on through each of them."""
    process = DaemonProcess(tmp_path_factory.mktemp("served")).ready()
    try:
        yield process
        assert process.process.poll() is None, process.log
        assert "internal error" not in process.log
    finally:
        process.end()


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[StartDaemon]:
    """Starts daemons over the test's folder; what still runs in the end is killed."""
    started: list[DaemonProcess] = []

    def start(folder: Path = tmp_path, **options: object) -> DaemonProcess:
        named = {name.replace("__", "."): value for name, value in options.items()}
        started.append(DaemonProcess(folder, named))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def make_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MakeDaemon]:
    """Makes daemons that wait for the test; options as `section__option`, not checked against their bounds."""
    made: list[ManualDaemon] = []

    def make(**arguments: object) -> ManualDaemon:
        config = Config()
        sections: dict[str, dict[str, object]] = {"data": {"directory": str(tmp_path / "data")}}
        for name in [name for name in arguments if "__" in name]:
            section, _, option = name.partition("__")
            sections.setdefault(section, {})[option] = arguments.pop(name)
        changed = {
            name: msgspec.structs.replace(getattr(config, name), **options) for name, options in sections.items()
        }
        config = msgspec.structs.replace(config, **changed)
        made.append(ManualDaemon(monkeypatch, config, **arguments))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for daemon in made:
        daemon.close()


@pytest.fixture
def manual(make_daemon: MakeDaemon) -> ManualDaemon:
    """One such daemon with the options' defaults."""
    return make_daemon()
