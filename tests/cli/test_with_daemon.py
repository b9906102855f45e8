"""The command line against a real daemon: all kinds of commands, and imports that are killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from recollectd.cli.root import root
from recollectd.client import Client
from recollectd.testing import Daemon
from support.journal_images import until

CONVERSATIONS = 3
TURNS = 4_000
OPTIONS = (
    *("--as", "conversation", "--map", "conversation_id=talk", "--map", "message_id=turn", "--map", "content=text"),
    *("--map", "role=speaker", "--roles", "first-speaker", "--map", "valid_at=when", "--time-format", "%d.%m.%Y"),
    "--keep-rest",
)


def run(daemon: Daemon, *arguments: object, code: int = 0, stdin: str = "") -> str:
    """Run a command in this process and return what it printed."""
    words = [str(argument) for argument in arguments]
    result = CliRunner().invoke(root, [*words, "--url", daemon.url], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conversation file; turns of its conversations follow each other."""
    path = tmp_path_factory.mktemp("source") / "turns.jsonl"
    with open(path, "w") as file:
        for talk in range(CONVERSATIONS):
            for turn in range(TURNS):
                line = {
                    "talk": f"talk {talk}",
                    "turn": f"T{turn}",
                    "speaker": ("Ida", "Max")[(turn + talk) % 2],
                    "text": f"what is said in turn {turn} " * 5,
                    "when": f"{turn % 28 + 1}.5.2023",
                    "photo": None if turn % 5 else f"photo {turn}",
                }
                file.write(json.dumps(line) + "\n")
    return path


def test_records_of_all_kinds(recollectd_daemon: Daemon) -> None:
    daemon = recollectd_daemon
    assert "answered in" in run(daemon, "ping")
    run(daemon, "state", "put", "k", '{"a": [1, {"$bytes": "AP8="}]}', "--ttl", "1h", "-n", "a%2Fb/c")
    record = json.loads(run(daemon, "state", "get", "k", "--json", "-n", "a%2Fb/c"))
    assert record["value"] == {"a": [1, {"$bytes": "AP8="}]}
    assert run(daemon, "state", "put", "k", "2", "--if-absent", "-n", "a%2Fb/c", code=79) == ""
    run(daemon, "log", "append", "steps", "1", "2", "3")
    assert json.loads(run(daemon, "log", "read", "steps", "--last", "1", "--json"))["items"][0]["value"] == 3
    chat = json.loads(run(daemon, "conversation", "create", "--json"))["conversation_id"]
    stored = json.loads(run(daemon, "conversation", "append", chat, "user", "Hello", "--json"))
    assert list(stored) == ["message_id", "conversation_id", "role", "stored_at"]
    history = json.loads(run(daemon, "conversation", "history", chat, "--json"))
    assert history["messages"][0]["content"] == "Hello"
    assert history["total_messages"] == 1
    assert set(run(daemon, "namespaces").split()) == {"a%2Fb/c", "default"}
    assert "journal" in json.loads(run(daemon, "status", "--json", "--namespaces"))


def test_everything_moves_to_another_store(recollectd_daemon: Daemon, source: Path, tmp_path: Path) -> None:
    daemon = recollectd_daemon
    run(daemon, "import", source, *OPTIONS, "-n", "talks")
    run(daemon, "log", "append", "steps", *range(50))
    run(daemon, "state", "put", "k", '{"$map": [[1, {"$float": "nan"}]]}', "-n", "a")
    with Client(daemon.url) as client:
        client.logs.truncate("steps", before=20)
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    run(daemon, "export", first)
    with Client(daemon.url) as client:
        for namespace in list(client.namespaces()):
            view = client.with_namespace(*namespace)
            view.state.delete_prefix("")
            for log in list(view.logs.list()):
                view.logs.delete(log.log_id)
            for talk in list(view.conversations.list()):
                view.conversations.delete(talk.conversation_id)
    run(daemon, "import", first)
    run(daemon, "export", second)
    of_store = {"version", "created_at", "updated_at", "stored_at", "timestamp", "last_used_at", "exported_at"}
    given = [
        [{name: value for name, value in line.items() if name not in of_store} for line in lines_of(path)]
        for path in (first, second)
    ]
    assert len(given[0]) == 1 + 1 + 30 + CONVERSATIONS * (TURNS + 1)
    assert sorted(given[0], key=json.dumps) == sorted(given[1], key=json.dumps)


def importing(daemon: Daemon, source: Path) -> subprocess.Popen[bytes]:
    """Start an import in a process of its own."""
    command = [sys.executable, "-m", "recollectd", "import", str(source), *OPTIONS, "--url", daemon.url]
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, stdout=subprocess.PIPE
    )


def begun(daemon: Daemon) -> Callable[[], bool]:
    """Return a condition: some of the first conversation is stored."""

    def is_begun() -> bool:
        with Client(daemon.url) as client:
            info = client.conversations.info("talk 0")
            return info is not None and info.total_messages > 0

    return is_begun


def test_an_import_whose_daemon_is_killed(recollectd_daemon: Daemon, source: Path, tmp_path: Path) -> None:
    """The client repeats what was under way when the daemon is back: once."""
    daemon = recollectd_daemon
    process = importing(daemon, source)
    until(begun(daemon))
    daemon.kill()
    daemon.start()
    with process:
        assert process.wait(60) == 0
    run(daemon, "export", tmp_path / "out.jsonl", *OPTIONS)
    assert lines_of(tmp_path / "out.jsonl") == lines_of(source)


def test_an_import_that_is_killed_itself(recollectd_daemon: Daemon, source: Path, tmp_path: Path) -> None:
    daemon = recollectd_daemon
    with importing(daemon, source) as process:
        until(begun(daemon))
        process.send_signal(signal.SIGKILL)
    report = json.loads(run(daemon, "import", source, *OPTIONS, "--json"))
    assert report["there_already"]["message"] > 0
    assert report["there_already"]["message"] + report["added"]["message"] == CONVERSATIONS * TURNS
    run(daemon, "export", tmp_path / "out.jsonl", *OPTIONS)
    assert lines_of(tmp_path / "out.jsonl") == lines_of(source)
