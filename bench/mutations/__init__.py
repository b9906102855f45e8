"""Whether the tests notice when a promise is broken on purpose.

Each mutation changes text in a copy of the tree; there are no switches in the product. The suites that ought to notice
are run on the copy, and if they do not, all tests. Printed is which tests failed: those caught it. Before, the same
suites must pass on an unchanged copy, or a failure would mean nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.machine import ROOT
from bench.mutations.specs import MUTATIONS, SOUND, Mutation
from bench.report import Report

_LEFT_OUT: Final = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", ".benchmarks")
_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
_PASSED, _SOME_FAILED = 0, 1
_TESTS_TIMEOUT_S: Final = 600
# Without --long a mutation's run ends when so many tests have caught it.
ENOUGH: Final = 4


class AnchorMissing(RuntimeError):
    """The source a mutation changes is not what the mutation expects."""


class MutantWrecked(RuntimeError):
    """A mutant does not even do its ordinary work: that it is noticed says nothing of the tests."""


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    names = [mutation.name for mutation in MUTATIONS]
    parser.add_argument("--only", choices=names, help="only this mutation")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Check the anchors, run the unchanged copy, then each mutation."""
    chosen = [mutation for mutation in MUTATIONS if arguments.only in (None, mutation.name)]
    for mutation in chosen:
        for change in mutation.replacements:
            changed(change.path, ROOT, change.anchor, change.instead)
    with tempfile.TemporaryDirectory(prefix="mutations-", dir=arguments.folder) as name:
        folder = Path(name)
        suites = sorted({suite for mutation in chosen for suite in mutation.suites if (ROOT / suite).exists()})
        plain = copy_tree(folder / "plain")
        failed = failing_tests(plain, suites)
        print(f"unchanged: {_told(failed)}", flush=True)
        report.add("tests fail", "unchanged", ours=len(failed), must="== 0")
        for mutation in chosen:
            started = time.monotonic()
            copy = folder / mutation.name.replace(" ", "-")
            failing = _try(mutation, copy, all_tests=not arguments.only, enough=0 if arguments.long else ENOUGH)
            caught = [test for test in failing if test not in failed]
            seconds = time.monotonic() - started
            print(f"{mutation.name}: {'caught by ' if caught else ''}{_told(caught)} ({seconds:.0f} s)", flush=True)
            report.add("caught", mutation.name, unit="tests", ours=len(caught), must=">= 1")


def changed(path: str, tree: Path, anchor: str, instead: str) -> str:
    """Return a file's text with one replacement made. Raises AnchorMissing."""
    file = tree / path
    text = file.read_text() if file.exists() else ""
    if text.count(anchor) != 1:
        raise AnchorMissing(f"{path} has {text.count(anchor)} times, not once:\n{anchor}")
    return text.replace(anchor, instead)


def copy_tree(target: Path) -> Path:
    """Copy the tree, what is built with it."""
    shutil.copytree(ROOT, target, ignore=_LEFT_OUT, symlinks=True)
    return target


def _try(mutation: Mutation, target: Path, *, all_tests: bool, enough: int) -> list[str]:
    """Return the tests that catch a mutation. Raises MutantWrecked."""
    tree = copy_tree(target)
    for change in mutation.replacements:
        (tree / change.path).write_text(changed(change.path, tree, change.anchor, change.instead))
    if mutation.native:
        build(tree)
    wrecked = failing_tests(tree, list(SOUND))
    if wrecked:
        raise MutantWrecked(f"{mutation.name!r} breaks more than its promise: {_told(wrecked)}")
    caught = failing_tests(tree, [suite for suite in mutation.suites if (tree / suite).exists()], enough=enough)
    if not caught and all_tests:
        caught = failing_tests(tree, ["tests"], enough=enough)
    shutil.rmtree(tree)
    return caught


def build(tree: Path) -> None:
    """Build the native modules of a copy in place, from its own sources."""
    for built in tree.glob("daemon/recollectd/_native/*.so"):
        built.unlink()
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=tree,
        env=_environment(tree) | {"RECOLLECTD_REQUIRE_NATIVE": "1"},
        check=True,
        capture_output=True,
    )


def failing_tests(tree: Path, suites: list[str], *, enough: int = 0) -> list[str]:
    """Run tests of a copy, return the names of those that fail (0: all; else it ends with so many).

    A run that does not end counts as one failure.
    """
    # A folder of its own for the tests' files: others' test runs tidy up in the common one. Socket paths are short.
    with tempfile.TemporaryDirectory(prefix="m-", ignore_cleanup_errors=True) as scratch:
        options = ("-q", "-p", "no:cacheprovider", "--tb=no", f"--maxfail={enough}", f"--basetemp={scratch}/t")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *options, *suites],
                cwd=tree,
                env=_environment(tree),
                capture_output=True,
                text=True,
                timeout=_TESTS_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return [f"(no end after {_TESTS_TIMEOUT_S} s)"]
    if done.returncode == _PASSED:
        return []
    failed = list(dict.fromkeys(_FAILED.findall(done.stdout)))
    if done.returncode != _SOME_FAILED or not failed:
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return failed


def _environment(tree: Path) -> dict[str, str]:
    """The copy's package is the one that is imported, also where another is installed."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(tree / "daemon"), str(tree)))}


def _told(tests: list[str]) -> str:
    return ", ".join(tests) if tests else "no test fails"
