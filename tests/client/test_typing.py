"""The client's types as users' checkers see them, from outside the package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import recollectd

OUTSIDE = Path(__file__).with_name("outside")
PACKAGES = Path(recollectd.__file__).parents[1]


def mypy(folder: Path) -> set[tuple[str, int]]:
    """Return the files and lines that mypy refuses."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(folder / "cache"), "."],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(PACKAGES)},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr
    return {(found[1], int(found[2])) for found in re.finditer(r"^(\w+\.py):(\d+): error", done.stdout, re.MULTILINE)}


def pyright(folder: Path) -> set[tuple[str, int]]:
    """Return the files and lines that pyright refuses."""
    settings = {"extraPaths": [str(PACKAGES)], "include": ["."], "typeCheckingMode": "strict"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(folder)],
        capture_output=True,
        text=True,
    )
    if not done.stdout.startswith("{"):
        pytest.skip(f"pyright cannot run here: {done.stdout or done.stderr}"[:200])
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 2
    errors = [each for each in report["generalDiagnostics"] if each["severity"] == "error"]
    return {(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in errors}


@pytest.mark.parametrize("check", [mypy, pyright])
def test_what_is_right_passes_and_what_is_wrong_is_refused(
    check: Callable[[Path], set[tuple[str, int]]], tmp_path: Path
) -> None:
    shutil.copy(OUTSIDE / "program.py", tmp_path)
    # Not named as a program where it lies: the project's own checks would refuse it, too.
    mistakes = Path(shutil.copy(OUTSIDE / "mistakes.py.txt", tmp_path / "mistakes.py"))
    lines = mistakes.read_text().splitlines()
    wrong = {("mistakes.py", number) for number, line in enumerate(lines, 1) if "# REFUSED" in line}
    assert len(wrong) > 10
    assert check(tmp_path) == wrong
