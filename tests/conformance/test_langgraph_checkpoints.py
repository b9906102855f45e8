"""LangGraph's own conformance suite for checkpointers, each of its cases a case here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, Final

import pytest
from langgraph.checkpoint.conformance.capabilities import Capability, DetectedCapabilities

from recollectd.adapters.langgraph import RecollectdSaver
from recollectd.testing import Daemon

Case = Callable[[RecollectdSaver], Awaitable[None]]

# What of the suite is left out, and why: nothing.
EXCEPTIONS: Final[dict[str, str]] = {}


def _cases(capability: Capability) -> list[Case]:
    module = import_module(f"langgraph.checkpoint.conformance.spec.test_{capability.value}")
    found: list[Case] = getattr(module, f"ALL_{capability.name}_TESTS")
    return found


CASES: Final = [
    pytest.param(case, id=f"{capability.value}-{case.__name__}")
    for capability in Capability
    for case in _cases(capability)
]


def test_the_suite_is_whole() -> None:
    assert len(CASES) == 81


async def test_every_capability_is_there(daemon: Daemon, namespace: tuple[str, ...]) -> None:
    saver = RecollectdSaver(daemon.url, namespace=namespace)
    assert DetectedCapabilities.from_instance(saver).missing == set()


@pytest.mark.parametrize("case", CASES)
async def test_case(case: Any, daemon: Daemon, namespace: tuple[str, ...]) -> None:
    async with RecollectdSaver(daemon.url, namespace=namespace) as saver:
        await case(saver)
