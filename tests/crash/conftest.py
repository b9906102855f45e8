"""The layer that forgets, compiled once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.crash.powercut import compile_layer


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled layer."""
    return compile_layer(tmp_path_factory.mktemp("forgetful"))
