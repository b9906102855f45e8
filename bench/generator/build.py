"""Compiles the generator, once for each version of its sources."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from pathlib import Path
from typing import Final

from bench.machine import ROOT

_SOURCES: Final = Path(__file__).resolve().parent


def generator() -> Path:
    """Return the generator's program, compiling it if need be. Raises RuntimeError with the compiler's words."""
    sources = sorted(path for path in _SOURCES.iterdir() if path.suffix in (".c", ".h"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    program = ROOT / "build" / "bench" / f"generator-{digest}"
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    aside = program.with_suffix(f".{os.getpid()}")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [
        *compiler,
        "-O2",
        "-std=gnu11",
        "-Wall",
        "-Wextra",
        "-o",
        str(aside),
        str(_SOURCES / "generator.c"),
        "-lm",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the load generator does not compile:\n{done.stderr}")
    aside.replace(program)
    return program
