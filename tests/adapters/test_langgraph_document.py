"""The examples of the page about LangGraph do what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph

from recollectd.adapters.langgraph import RecollectdSaver
from recollectd.testing import Daemon
from support.source_tree import PACKAGE, ROOT, text_of

PAGE: Final = text_of(ROOT / "daemon" / "docs" / "langgraph.md")
EXAMPLE: Final = re.compile(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
EXAMPLES: Final = {
    title: re.findall(r"```python\n(.*?)```", section, re.DOTALL) for title, section in EXAMPLE.findall(PAGE)
}
TIMEOUT_S: Final = 60


def start(program: str, folder: Path, daemon: Daemon) -> subprocess.Popen[str]:
    path = folder / "example.py"
    path.write_text(program)
    environment = {**os.environ, "RECOLLECTD_URL": daemon.url, "PYTHONPATH": str(PACKAGE.parent)}
    return subprocess.Popen([sys.executable, str(path)], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def output(program: str, folder: Path, daemon: Daemon) -> str:
    with start(program, folder, daemon) as process:
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    return out


@pytest.mark.parametrize(
    ("title", "printed"),
    [("Checkpointer", ["4 messages\n"]), ("Store", ["['city']\n", "apple pie\n"])],
)
def test_example(title: str, printed: list[str], tmp_path: Path, recollectd_daemon: Daemon) -> None:
    assert [output(program, tmp_path, recollectd_daemon) for program in EXAMPLES[title]] == printed


def test_an_agent_survives_being_killed(tmp_path: Path, recollectd_daemon: Daemon) -> None:
    (program,) = EXAMPLES["An agent that survives SIGKILL in mid-run"]
    with start(program, tmp_path, recollectd_daemon) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if line == "writing chapter 3\n":
                break
        first.kill()
    recollectd_daemon.restart(kill=True)
    *begun, finished = output(program, tmp_path, recollectd_daemon).splitlines()
    assert finished == "finished: " + ", ".join(f"chapter {number}" for number in range(1, 7))
    numbers = [int(line.removeprefix("writing chapter ")) for line in begun]
    # It was in chapter 3, or on a slow machine behind it, and begins none of those before again.
    assert numbers == list(range(numbers[0], 7))
    assert numbers[0] >= 3


def test_moving(tmp_path: Path, recollectd_daemon: Daemon) -> None:
    def graph(saver: Any) -> Any:
        builder = StateGraph(MessagesState)
        builder.add_node("answer", lambda state: {"messages": [("assistant", f"{len(state['messages'])}")]})
        builder.add_edge(START, "answer")
        builder.add_edge("answer", END)
        return builder.compile(checkpointer=saver)

    config: Any = {"configurable": {"thread_id": "ada"}}
    with SqliteSaver.from_conn_string(str(tmp_path / "checkpoints.sqlite")) as old:
        for text in ("one", "two"):
            graph(old).invoke({"messages": [("user", text)]}, config)
        history = list(graph(old).get_state_history(config))
    (program,) = EXAMPLES["Moving from SqliteSaver"]
    assert output(program, tmp_path, recollectd_daemon) == f"{len(history)} checkpoints\n"
    with RecollectdSaver(recollectd_daemon.url) as new:
        assert [each.values for each in graph(new).get_state_history(config)] == [each.values for each in history]
        after = graph(new).invoke({"messages": [("user", "three")]}, config)
    assert [each.content for each in after["messages"]] == ["one", "1", "two", "3", "three", "5"]


def test_every_example_is_run() -> None:
    run = {"Checkpointer", "Store", "An agent that survives SIGKILL in mid-run", "Moving from SqliteSaver"}
    assert {title for title, programs in EXAMPLES.items() if programs} == run
