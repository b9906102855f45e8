"""The tests of langgraph-checkpoint-sqlite's times to live, with ours in their place."""

from __future__ import annotations

from typing import Final

import pytest

from recollectd.testing import Daemon
from support.foreign import cases
from support.langgraph_stand_ins import Place, foreign_tests

EXCEPTIONS: Final = {
    "test_ttl_refresh": "wants the number of items a sweep deletes; here items end by themselves and none are swept",
}

globals().update(cases(foreign_tests("test_ttl")))


@pytest.fixture(autouse=True)
def place(daemon: Daemon) -> None:
    Place.url = daemon.url
