"""What is installed, built and promised by the README."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest

import recollectd
from support.source_tree import PACKAGE, ROOT, files, imports, text_of, tree_of

PROJECT: Final[dict[str, Any]] = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
EXTRAS: Final[dict[str, list[str]]] = PROJECT["optional-dependencies"]
# Where a distribution's module has another name than its own with `_` for `-`.
MODULE_OF: Final = {
    "cython": "Cython",
    "faiss-cpu": "faiss",
    "google-adk": "google",
    "langgraph-checkpoint": "langgraph",
    "openai-agents": "agents",
    "pydantic-ai-slim": "pydantic_ai",
    "pystemmer": "Stemmer",
}
ADAPTERS: Final = sorted(path.name for path in (PACKAGE / "adapters").iterdir() if (path / "__init__.py").exists())
OURS: Final = ("recollectd", "bench", "support")


def names(requirements: list[str]) -> set[str]:
    """Return the modules of these requirements, those of our own extras included."""
    found: set[str] = set()
    for requirement in requirements:
        own = re.fullmatch(r"recollectd\[([\w-]+)\]", requirement)
        name = re.split(r"[^\w-]", requirement)[0].lower()
        found |= names(EXTRAS[own[1]]) if own else {MODULE_OF.get(name, name.replace("-", "_"))}
    return found


def third_party(*folders: str) -> set[str]:
    paths = [path for folder in folders for path in files(".py", below=ROOT / folder)]
    tops = {one.name.partition(".")[0] for path in paths for one in imports(tree_of(path))}
    local = {path.stem for path in paths}
    local |= {path.name for path in (ROOT / "tests").iterdir()}
    return {top for top in tops if top not in sys.stdlib_module_names and top not in OURS and top not in local}


def test_a_client_needs_msgspec_alone() -> None:
    assert names(PROJECT["dependencies"]) == {"msgspec"}


def test_extras_bring_what_is_imported() -> None:
    base = names(PROJECT["dependencies"])
    layers = [path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "adapters"]
    daemon = third_party(*(f"daemon/recollectd/{layer}" for layer in layers))
    assert daemon - {"pytest"} <= base | names(EXTRAS["daemon"])
    assert third_party("bench") <= base | names(EXTRAS["bench"])
    assert third_party("daemon", "tests", "bench") <= base | names(EXTRAS["dev"])


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_needs_its_extra_alone(adapter: str) -> None:
    needed = names(EXTRAS[adapter.replace("_", "-")])
    assert third_party(f"daemon/recollectd/adapters/{adapter}") <= names(PROJECT["dependencies"]) | needed
    assert needed <= names(EXTRAS["dev"])


def test_dev_includes_daemon_and_bench() -> None:
    assert names(EXTRAS["daemon"]) | names(EXTRAS["bench"]) <= names(EXTRAS["dev"])


def test_the_version_is_declared_once() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert version("recollectd") == recollectd.__version__
    declares = re.compile(r"^_*version_*\s*=\s*[\"']", re.MULTILINE)
    assert [path for path in files(".py", ".toml", ".in") if declares.search(text_of(path))] == [
        PACKAGE / "__init__.py"
    ]


def quick_start() -> list[str]:
    section = text_of(ROOT / "README.md").partition("\n## Quick start\n")[2].partition("\n## ")[0]
    return [line for block in re.findall(r"```\w*\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]


def test_the_quick_start_is_two_lines() -> None:
    demo, tests = quick_start()
    for line in (demo, tests):
        assert line.startswith("python3 setup.py preflight && python3 -m venv .venv && RECOLLECTD_REQUIRE_NATIVE=1 ")
    assert "pip install '.[daemon]'" in demo
    assert demo.endswith("recollectd demo")
    assert tests.endswith("pytest")


def preflight(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "setup.py", "preflight"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_preflight_passes_where_everything_is_there() -> None:
    done = preflight()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("environment", [{"CC": "/bin/false"}, {"CXX": "/bin/false"}, {"CC": "no-such-compiler"}])
def test_a_missing_compiler_is_one_sentence(environment: dict[str, str]) -> None:
    done = preflight(**environment)
    assert done.returncode == 1
    assert re.fullmatch(r"[^.\n]*: install the Debian package build-essential\.\n", done.stderr)


def test_missing_headers_are_one_sentence(tmp_path: Path) -> None:
    compiler = tmp_path / "cc-without-headers"
    compiler.write_text(
        '#!/bin/sh\nfor word; do case $word in *.c) source=$word;; esac; done\n! grep -q Python.h "$source"\n'
    )
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    done = preflight(CC=str(compiler), CXX="/bin/true")
    assert done.returncode == 1
    assert re.fullmatch(r"[^\n]*: install the Debian package python3-dev\.\n", done.stderr)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The project's files alone, in a folder of their own."""
    for path in files():
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return tmp_path


def test_a_source_distribution_is_complete(copied: Path) -> None:
    """Cython that runs too early replaces every `.pyx` by generated C, and the archive has no source at all."""
    before = {path.relative_to(copied).as_posix() for path in copied.rglob("*") if path.is_file()}
    subprocess.run(
        [sys.executable, "setup.py", "-q", "sdist"], cwd=copied, check=True, capture_output=True, timeout=100
    )
    (archive,) = (copied / "dist").iterdir()
    with tarfile.open(archive) as packed:
        inside = {name.partition("/")[2] for name in packed.getnames()}
    left_out = {name for name in before - inside if not name.startswith((".ci/", ".git"))}
    assert left_out == set()


@pytest.mark.parametrize(("required", "succeeds"), [("1", False), ("0", True)])
def test_without_a_compiler_only_a_client_is_built(copied: Path, required: str, succeeds: bool) -> None:
    if not list((copied / "native").glob("*.pyx")):
        (copied / "native" / "probe.pyx").write_text("x = 1\n")
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=copied,
        env={**os.environ, "CC": "/bin/false", "RECOLLECTD_REQUIRE_NATIVE": required},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.returncode == 0) is succeeds, done.stderr
    assert "install the Debian package build-essential." in done.stderr
