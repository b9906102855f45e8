"""Where a daemon listens: URLs, and Unix paths longer than a socket address can hold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from recollectd.protocol import errors

URL_VARIABLE: Final = "RECOLLECTD_URL"
URL_DEFAULT: Final = "unix:///run/recollectd/recollectd.sock"
PORT_MAX: Final = 65_535
UNIX_PATH_BYTES_MAX: Final = 107
"""`sun_path` of a Unix socket address, less its closing zero."""


class Address(NamedTuple):
    """A place to connect to: a Unix socket's path, or host and port."""

    path: str
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        """Return the URL."""
        if self.path:
            return f"unix://{self.path}"
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"


def parse_url(url: str | None) -> Address:
    """Return the address of `unix://PATH` or `tcp://HOST:PORT`; None: of RECOLLECTD_URL, or else the default.

    Raises InvalidArgument naming `url`.
    """
    text = url if url is not None else os.environ.get(URL_VARIABLE) or URL_DEFAULT
    if text.startswith("unix://") and len(text) > len("unix://"):
        return Address(text.removeprefix("unix://"))
    if text.startswith("tcp://"):
        host, colon, port = text.removeprefix("tcp://").removesuffix("/").rpartition(":")
        bare = host.removeprefix("[").removesuffix("]") if host.startswith("[") and host.endswith("]") else host
        is_host = bool(bare) and (":" in bare) == (bare != host)
        if colon and is_host and port.isascii() and port.isdigit() and 0 < int(port) <= PORT_MAX:
            return Address("", bare, int(port))
    raise errors.InvalidArgument(f"{text!r} is neither unix:///PATH nor tcp://HOST:PORT", field="url")


@contextmanager
def reachable(path: str) -> Iterator[str]:
    """Give a path that fits a socket address and leads to the same socket, good within the block.

    A longer path goes through a descriptor of its folder: Linux lets `/proc/self/fd/N/name` stand for it.
    """
    if len(os.fsencode(path)) <= UNIX_PATH_BYTES_MAX:
        yield path
        return
    folder, file_name = os.path.split(path)
    descriptor = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{file_name}"
    finally:
        os.close(descriptor)
