"""The stubs of the native modules say what the built modules have."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from support.source_tree import ROOT

MODULES: Final = sorted(path.stem for path in (ROOT / "native").glob("*.pyx"))
BUILT: Final = [name for name in MODULES if find_spec(f"recollectd._native.{name}") is not None]

# What Cython puts into every module and class beside what is written.
OF_CYTHON: Final = r""".*\.__test__
.*\.__pyx_capi__
.*\.__(reduce|setstate)_cython__
.*\.__pyx_.*
"""


@pytest.mark.skipif(not BUILT, reason="no native module is built")
def test_stubs_match_the_built_modules(tmp_path: Path) -> None:
    assert BUILT == MODULES, "some native modules are built and others are not"
    allowed = tmp_path / "allowed"
    allowed.write_text(OF_CYTHON)
    modules = [f"recollectd._native.{name}" for name in BUILT]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy.stubtest", "--ignore-unused-allowlist", "--allowlist", str(allowed)),
            *("--mypy-config-file", str(ROOT / "pyproject.toml"), *modules),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
