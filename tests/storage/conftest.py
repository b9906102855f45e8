"""Engines in temporary folders, and programs that are killed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import recollectd
from recollectd.storage.engine import Engine
from recollectd.storage.engine_options import EngineOptions
from support.engines import OPTIONS, OpenEngine, Start


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "records"


@pytest.fixture
def open_engine(records: Path) -> Iterator[OpenEngine]:
    """Opens the test's store, makes it the first time, and closes what the test leaves open."""
    opened: list[Engine] = []

    def open_one(options: EngineOptions = OPTIONS, *, path: Path = records) -> Engine:
        engine = Engine.open(path, options, create=not path.exists())
        opened.append(engine)
        return engine

    yield open_one
    for engine in opened:
        engine.close()


@pytest.fixture
def engine(open_engine: OpenEngine) -> Engine:
    return open_engine()


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a Python program with arguments; its output can be read, and it does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def start_one(
        program: str, *arguments: object, environment: dict[str, str] | None = None, stdin: bool = False
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(Path(recollectd.__file__).parents[1]), **(environment or {})},
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()
