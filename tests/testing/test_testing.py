"""The throw-away daemon that users' tests get: started, killed, restarted, removed, and told about when it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from recollectd.testing import Daemon, DaemonFailed

PACKAGES = Path(__file__).parents[2] / "daemon"


def test_a_daemon_lives_as_long_as_its_block() -> None:
    with Daemon() as daemon:
        assert "ready" in daemon.log
        assert daemon.data.is_dir()
        with daemon.client(namespace=("a",), timeout=10.0) as client:
            assert client.namespace == ("a",)
            assert client.state.put("k", 1) == 1
    assert [daemon.running, daemon.folder.exists()] == [False, False]


def test_what_was_stored_survives_its_end_whichever_it_is(tmp_path: Path) -> None:
    with Daemon(tmp_path / "own") as daemon, daemon.client(timeout=30.0) as client:
        client.state.put("k", 1)
        first = daemon.pid
        daemon.kill()
        assert not daemon.running
        daemon.start()
        assert daemon.pid != first
        assert client.state.put("k", 2) == 2
        daemon.restart()
        daemon.restart(kill=True)
        record = client.state.get("k")
        assert record is not None
        assert (record.value, record.version) == (2, 2)
        daemon.terminate()
    assert (tmp_path / "own" / "data").is_dir(), "a folder that was given stays"


def test_options_and_environment_reach_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOLLECTD_SERVER_LOG_LEVEL", "nonsense")
    with Daemon(options={"server.connections_max": 7}, environment={"RECOLLECTD_SERVER_LOG_FORMAT": "json"}) as daemon:
        with daemon.client() as client:
            assert "7" in str(client.status()["connections"])
        assert daemon.log.startswith("{")


def test_a_daemon_that_does_not_start_shows_its_log() -> None:
    daemon = Daemon(options={"no.such_option": 1})
    with pytest.raises(DaemonFailed, match=r"no\.such_option"):
        daemon.__enter__()
    assert not daemon.folder.exists()


def test_the_fixtures_come_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["recollectd.testing"]\n')
    (tmp_path / "test_remembering.py").write_text(
        "def test_first(recollectd_client, recollectd_daemon):\n"
        "    recollectd_client.state.put('k', 1)\n"
        "    recollectd_daemon.restart(kill=True)\n"
        "    assert recollectd_client.state.get('k').value == 1\n"
        "def test_second(recollectd_client):\n"
        "    assert recollectd_client.state.get('k') is None\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PACKAGES), "PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_without_pytest_there_is_a_daemon_all_the_same() -> None:
    program = "import sys; from recollectd.testing import Daemon; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": str(PACKAGES)}, check=True)
