"""A program that uses the client loads the client: no daemon, no event loop it does not use, nothing but msgspec."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("uvloop", "rocksdict", "numpy", "zstandard", "psutil", "click")
ABOVE = ("config", "_native", "journal", "storage", "memory", "server", "cli", "testing")


def loaded(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has after a statement."""
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    path = ":".join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import recollectd.client", "from recollectd.client import AsyncClient, AsyncWatch, AsyncPipeline"]
)
def test_the_client_loads_nothing_of_the_daemon(statement: str) -> None:
    modules = loaded(statement)
    assert not modules & {*HEAVY, *(f"recollectd.{layer}" for layer in ABOVE)}


def test_the_blocking_client_loads_no_asyncio() -> None:
    modules = loaded("from recollectd.client import Client; Client('unix:///x').state; Client.local")
    assert not modules & {"asyncio", "ssl", "subprocess", "random", "recollectd.client.local", "concurrent.futures"}


def test_names_that_do_not_exist_are_refused() -> None:
    import recollectd.client

    with pytest.raises(AttributeError, match="Clinet"):
        _ = recollectd.client.Clinet
    for name in recollectd.client.__all__:
        assert getattr(recollectd.client, name)
