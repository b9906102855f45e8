"""A store in dicts, and the command line over it."""

from __future__ import annotations

import pytest

from support.command_line import Run, over
from support.fake_client import FakeClient
from support.fake_store import FakeStore


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def client(store: FakeStore) -> FakeClient:
    return FakeClient(store)


@pytest.fixture
def run(store: FakeStore) -> Run:
    return over(store)
