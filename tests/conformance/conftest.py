"""One daemon for all suites, and a namespace for each test; cases left out are named with their reason."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import pytest

from recollectd.client import Client
from recollectd.testing import Daemon

FOREIGN_MARKERS: Final = ("flaky(retries): how often its authors would try again; here it is tried once",)
_numbers: Final = count()


def pytest_configure(config: pytest.Config) -> None:
    for marker in FOREIGN_MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what a module's EXCEPTIONS name, each with its reason; a name without a case is an error."""
    modules: dict[Any, set[str]] = {}
    for item in items:
        module = item.getparent(pytest.Module)
        exceptions: dict[str, str] = getattr(module.obj, "EXCEPTIONS", {}) if module is not None else {}
        if module is not None and exceptions:
            found = modules.setdefault(module.obj, set())
            for name in {item.name, item.name.partition("[")[0]} & set(exceptions):
                found.add(name)
                item.add_marker(pytest.mark.skip(reason=exceptions[name]))
        if module is not None and hasattr(module.obj, "EXCEPTIONS"):
            # What foreign tests and the packages they need are warned of is their authors' affair.
            item.add_marker(pytest.mark.filterwarnings("default"))
    for module_object, found in modules.items():
        unknown = set(module_object.EXCEPTIONS) - found
        if unknown and not _selected(items):
            raise pytest.UsageError(f"{module_object.__name__}: no such case: {', '.join(sorted(unknown))}")


def _selected(items: list[pytest.Item]) -> bool:
    """Tell whether only some cases of a module were asked for, by `::` on the command line."""
    return any("::" in argument for argument in items[0].config.args)


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """Give the daemon that all suites share."""
    with Daemon() as running:
        yield running


@pytest.fixture
def namespace() -> tuple[str, ...]:
    """Give labels that no other test uses."""
    return ("conformance", str(next(_numbers)))


@pytest.fixture
def client(daemon: Daemon, namespace: tuple[str, ...]) -> Iterator[Client]:
    """Give a client of the daemon in this test's own namespace."""
    with daemon.client(namespace=namespace) as client:
        yield client
