"""A daemon that can be killed at any moment and started again on the same data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.process import DaemonProcess


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A running daemon."""
    with DaemonProcess(tmp_path) as daemon:
        daemon.start()
        yield daemon
