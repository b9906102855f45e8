"""Finding a daemon: where nobody listens, a command says so at once instead of waiting for its timeout."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from recollectd.cli.connecting import open_client
from recollectd.protocol.errors import DaemonUnavailable


def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnavailable, match=r"gone\.sock"):
        open_client(f"unix://{tmp_path / 'gone.sock'}", ("n",), 3_600.0)


def test_a_socket_that_nobody_listens_on(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "stale.sock"))
    with pytest.raises(DaemonUnavailable, match="refused"):
        open_client(f"unix://{tmp_path / 'stale.sock'}", ("n",), 3_600.0)


def test_a_port_that_nobody_listens_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DaemonUnavailable, match=str(port)):
        open_client(f"tcp://127.0.0.1:{port}", ("n",), 3_600.0)
