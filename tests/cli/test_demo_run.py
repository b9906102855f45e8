"""recollectd demo from beginning to end: with a daemon that keeps its word, and with one that seems not to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from recollectd.cli.demo import command, samples
from recollectd.cli.demo.command import Demo
from recollectd.cli.root import root
from recollectd.client import Client


def test_nothing_is_lost_and_nothing_is_left(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "recollectd", "demo"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)},
        timeout=110,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "acknowledged writes are there, each once" in ended.stdout
    assert "synced puts" in ended.stdout
    assert "nothing was lost" in ended.stdout
    assert list(tmp_path.iterdir()) == [], "everything is removed"


def harm(client: Client) -> None:
    """What a daemon that does not keep its word would do."""
    assert client.state.delete("writer-0/00000001")
    client.logs.append("writer-1", [1])
    assert client.conversations.delete("writer-2")
    assert client.conversations.delete(samples.CONVERSATION_ID)


def test_it_fails_loudly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    finish = Demo._let_patient_writers_finish

    def finish_and_harm(demo: Demo) -> None:
        finish(demo)
        with demo._daemon.client() as client:
            harm(client)

    monkeypatch.setattr(Demo, "_let_patient_writers_finish", finish_and_harm)
    monkeypatch.setattr(command, "UNITS_BEFORE_KILL", 40)
    monkeypatch.setattr(command, "PROBLEMS_SHOWN", 1_000)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = CliRunner().invoke(root, ["demo"])
    assert ended.exit_code == 80, ended.output
    for said in (
        "writer-0: unit 1 was acknowledged and is 0 times in the state",
        "writer-1: unit 1 was acknowledged and is 2 times in the log",
        "writer-2: unit 1 was acknowledged and is 0 times in the conversation",
        "the conversation has 0 messages, of 31",
    ):
        assert said in ended.stderr
    assert "nothing was lost" not in ended.stdout
    assert list(tmp_path.iterdir()) == []
