"""What adapters cost who does not use them: nothing is loaded of a framework until its adapter is imported."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

from support.source_tree import PACKAGE

FRAMEWORKS: Final = {
    "google_adk": "google.adk",
    "langchain": "langchain_core",
    "langgraph": "langgraph",
    "mcp": "mcp",
    "openai_agents": "agents",
    "pydantic_ai": "pydantic_ai",
}


def loaded(program: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after a program."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules, sep='\\n')"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    return set(done.stdout.splitlines())


def test_every_adapter_is_known_here() -> None:
    assert {path.parent.name for path in (PACKAGE / "adapters").glob("*/__init__.py")} == set(FRAMEWORKS)


@pytest.mark.parametrize(
    "program",
    [
        "import recollectd.adapters",
        "import recollectd.client, recollectd.client.agents",
        "from recollectd.client import Client, PersistentBufferMemory",
        "import recollectd.cli.root, recollectd.cli.commands.mcp",
    ],
)
def test_nothing_of_a_framework_is_loaded_by_others(program: str) -> None:
    assert not loaded(program) & {*FRAMEWORKS.values(), "pydantic", "uvicorn", "anyio", "httpx"}


@pytest.mark.parametrize("adapter", FRAMEWORKS)
def test_an_adapter_loads_its_framework_and_no_other_adapter(adapter: str) -> None:
    module = f"recollectd.adapters.{adapter}" + (".server" if adapter == "mcp" else "")
    modules = loaded(f"import {module}")
    assert FRAMEWORKS[adapter] in modules
    assert not [each for each in FRAMEWORKS if each != adapter and f"recollectd.adapters.{each}" in modules]
