"""A daemon that tests of adapters share, and names for each test."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final

import pytest

from recollectd.adapters.langgraph import RecollectdSaver
from recollectd.client import Client
from recollectd.testing import Daemon

_numbers: Final = count()


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """Give the daemon that tests share which do not end it."""
    with Daemon() as running:
        yield running


@pytest.fixture
def namespace() -> tuple[str, ...]:
    """Give labels that no other test uses."""
    return ("adapters", str(next(_numbers)))


@pytest.fixture
def saver(daemon: Daemon, namespace: tuple[str, ...]) -> Iterator[RecollectdSaver]:
    """Give a checkpointer in the test's own namespace."""
    with RecollectdSaver(daemon.url, namespace=namespace) as opened:
        yield opened


@pytest.fixture
def client(daemon: Daemon, namespace: tuple[str, ...]) -> Iterator[Client]:
    """Give a client in the test's own namespace."""
    with daemon.client(namespace=namespace) as opened:
        yield opened
