"""One daemon for all of these tests, and a namespace for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from recollectd.client import Client
from recollectd.testing import Daemon

_numbers = count()


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as running:
        yield running


@pytest.fixture
def open_client(daemon: Daemon) -> Iterator[Callable[[], Client]]:
    """Opens clients of one namespace that no other test uses."""
    namespace = ("agents", str(next(_numbers)))
    opened: list[Client] = []

    def open_one() -> Client:
        opened.append(daemon.client(namespace=namespace))
        return opened[-1]

    yield open_one
    for client in opened:
        client.close()


@pytest.fixture
def client(open_client: Callable[[], Client]) -> Client:
    return open_client()
