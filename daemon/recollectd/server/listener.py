"""Listening sockets: Unix and TCP, several at once."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

# The kernel's bound on a Unix socket's path (sun_path has 108 bytes, the last one zero).
_SOCKET_PATH_BYTES_MAX = 107


class ListenError(Exception):
    """An address cannot be listened on; the message says which and why."""


async def listen_unix(
    loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.BaseProtocol], path: Path, mode: int
) -> asyncio.Server:
    """Listen on a Unix socket of this mode. A socket file that nobody listens on is replaced, nothing else is."""
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES_MAX:
        raise ListenError(f"{path}: a socket's path may have {_SOCKET_PATH_BYTES_MAX} bytes; choose a shorter one")
    if path.exists():
        _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The file must never be there with more rights than it ends up with.
        before = os.umask(0o777 & ~mode)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        listening.setblocking(False)
        return await loop.create_unix_server(factory, sock=listening, backlog=1024)
    except OSError as error:
        listening.close()
        raise ListenError(f"{path}: {os.strerror(error.errno or errno.EIO)}") from None


def _remove_stale(path: Path) -> None:
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise ListenError(f"{path}: there is a file that is no socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError:
            pass
    raise ListenError(f"{path}: another process listens here")


async def listen_tcp(
    loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
) -> asyncio.Server:
    """Listen on TCP."""
    try:
        return await loop.create_server(factory, host, port, backlog=1024, reuse_address=True)
    except OSError as error:
        raise ListenError(f"{host}:{port}: {error.strerror or error}") from None
