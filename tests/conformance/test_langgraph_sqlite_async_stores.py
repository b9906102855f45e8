"""The tests of langgraph-checkpoint-sqlite's stores for asyncio, with ours in their place."""

from __future__ import annotations

from typing import Final

import pytest

from recollectd.testing import Daemon
from support.foreign import cases
from support.langgraph_stand_ins import Place, foreign_tests

EXCEPTIONS: Final[dict[str, str]] = {}

globals().update(cases(foreign_tests("test_async_store")))


@pytest.fixture(autouse=True)
def place(daemon: Daemon) -> None:
    Place.url = daemon.url
