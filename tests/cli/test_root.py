"""The command itself: help, how errors end it, what it loads, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from recollectd.cli.root import COMMANDS, root
from recollectd.protocol import errors
from support.command_line import Run
from support.fake_store import FakeStore


def python(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=60,
    )


def test_help_names_every_command(run: Run) -> None:
    shown = run("--help").out
    for commands in COMMANDS.values():
        for name in commands:
            assert f"  {name} " in shown


def leaves(command: click.Command, *path: str) -> list[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return [path]
    context = click.Context(command)
    found = []
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        found += leaves(below, *path, name)
    return found


@pytest.mark.parametrize("path", leaves(root), ids=" ".join)
def test_every_command_explains_itself_and_its_options(run: Run, path: tuple[str, ...]) -> None:
    shown = run(*path, "--help").out
    assert shown.startswith(f"Usage: recollectd {' '.join(path)}")
    context = click.Context(root)
    command: click.Command = root
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(context, name)
        assert found is not None
        command = found
    assert command.help
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, f"{path}: {parameter.name}"


@pytest.mark.parametrize("arguments", [("pign",), ("state", "put"), ("state", "get", "k", "--nope"), ("state",)])
def test_a_wrong_command_line_ends_with_64(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments, code=64)
    assert ended.out == ""
    assert ended.err.startswith("recollectd: ")


@pytest.mark.parametrize(
    ("error", "code"),
    [(errors.Busy("full"), 75), (errors.DaemonUnavailable("nobody"), 69), (errors.InternalError(error_id="abc"), 70)],
)
def test_an_error_is_a_message_and_a_hint(run: Run, store: FakeStore, error: errors.RecollectdError, code: int) -> None:
    store.fail_at, store.error = 1, error
    ended = run("state", "put", "k", "1", code=code)
    assert ended.out == ""
    assert ended.err == f"recollectd: {error}\n  hint: {error.hint}\n"


def test_a_defect_is_told_without_a_traceback(run: Run, store: FakeStore) -> None:
    store.fail_at, store.error = 1, KeyError("oops")  # type: ignore[assignment]
    ended = run("state", "put", "k", "1", code=70)
    assert "a defect of recollectd: KeyError: 'oops'" in ended.err
    assert "RECOLLECTD_TRACEBACK=1" in ended.err


def test_an_interruption_ends_with_130(run: Run, store: FakeStore) -> None:
    store.fail_at, store.error = 1, KeyboardInterrupt()  # type: ignore[assignment]
    assert "interrupted" in run("state", "put", "k", "1", code=130).err


def test_a_missing_file_is_named(run: Run, tmp_path: Path) -> None:
    ended = run("import", tmp_path / "none.jsonl", code=66)
    assert "none.jsonl: No such file or directory" in ended.err


def test_a_reader_that_went_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", "recollectd", "config", "show"]
        ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    finally:
        os.close(writing)
    assert ended.stderr == b""
    assert ended.returncode == 141


def test_socket_and_url_exclude_each_other(run: Run) -> None:
    assert "not both" in run("ping", "--socket", "s", "--url", "unix:///s", code=64).err


def test_without_click_one_sentence_says_what_to_install() -> None:
    ended = python("import sys; sys.modules['click'] = None; from recollectd.cli.main import main; sys.exit(main())")
    assert ended.returncode == 69
    assert ended.stderr == "recollectd: the command line needs click: pip install 'recollectd[cli]'\n"


def test_python_m_recollectd_is_the_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "recollectd", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.startswith("recollectd 0.")


def test_ping_loads_no_more_than_it_needs() -> None:
    """150 ms for a sign of life: what the daemon and other commands need stays out."""
    program = (
        "import json, sys\n"
        "from recollectd.cli.main import main\n"
        "sys.argv = ['recollectd', 'ping', '--url', 'unix:///nowhere/s', '--timeout', '0.01']\n"
        "try: main()\n"
        "except SystemExit as ended: print(json.dumps([ended.code, sorted(sys.modules)]))\n"
    )
    code, loaded = json.loads(python(program).stdout)
    assert code in (69, 75)
    heavy = ("uvloop", "rocksdict", "zstandard", "psutil", "numpy", "asyncio", "tomllib")
    ours = ("server", "storage", "memory", "journal", "config", "cli.transfer", "cli.demo", "cli.output", "cli.tagging")
    assert [name for name in heavy if name in loaded] == []
    assert [name for name in ours if f"recollectd.{name}" in loaded] == []


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete "), ("zsh", "#compdef"), ("fish", "complete ")])
def test_completion_scripts(run: Run, shell: str, word: str) -> None:
    script = run("completion", shell).out
    assert word in script
    assert "_RECOLLECTD_COMPLETE" in script


def test_completion_completes_commands() -> None:
    ended = python(
        "from recollectd.cli.main import main; main()",
        _RECOLLECTD_COMPLETE="bash_complete",
        COMP_WORDS="recollectd state to",
        COMP_CWORD="2",
    )
    assert ended.stdout == "plain,touch\n"
