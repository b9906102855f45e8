"""One blocking socket and its protocol."""

from __future__ import annotations

import select
import socket
from time import monotonic
from typing import Final, Generic, TypeVar

from recollectd.client.address import Address, reachable
from recollectd.client.core import Answer, Connection
from recollectd.protocol import errors
from recollectd.protocol.messages.connection import Hello, Welcome

Token = TypeVar("Token")

RECEIVE_BYTES: Final = 256 * 1024


class Channel(Generic[Token]):
    """A connection to the daemon, used by one thread at a time. After any exception it is of no more use: close it.

    generation: of the session it was opened in; used_at: when it last answered, monotonic seconds.
    """

    def __init__(self, address: Address) -> None:
        self.core: Connection[Token] = Connection()
        self.generation = 0
        self.used_at = 0.0
        self._address = address
        family = socket.AF_UNIX if address.path else _family(address)
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._timeout = 0.0

    def open(self, hello: Hello, deadline: float) -> Welcome:
        """Connect and shake hands. Raises DaemonUnavailable, or what the daemon answers to the hello."""
        try:
            self._socket.settimeout(_left(deadline))
            if self._address.path:
                with reachable(self._address.path) as path:
                    self._socket.connect(path)
            else:
                self._socket.connect((self._address.host, self._address.port))
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._socket.sendall(self.core.greet(hello))
            while self.core.welcome is None:
                self.receive(deadline)
        except (OSError, errors.ConnectionLost, errors.RequestTimeout) as error:
            raise errors.DaemonUnavailable(f"no daemon answers at {self._address}: {error}") from error
        return self.core.welcome

    def receive(self, deadline: float | None) -> list[Answer[Token]]:
        """Wait for bytes and return the answers they complete, if any. deadline: None waits for ever.

        Raises RequestTimeout, ConnectionLost, ProtocolError.
        """
        self._set_timeout(None if deadline is None else _left(deadline))
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except TimeoutError:
            raise errors.RequestTimeout("no reply within the timeout") from None
        except OSError as error:
            raise errors.ConnectionLost(f"the connection to {self._address} broke: {error}") from error
        if not data:
            raise errors.ConnectionLost(f"the daemon at {self._address} closed the connection")
        return self.core.receive(data)

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Send what fits without waiting and return how many bytes that were. Raises ConnectionLost."""
        try:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise errors.ConnectionLost(f"the connection to {self._address} broke: {error}") from error

    def send_all(self, data: bytes) -> None:
        """Send a few bytes, waiting for room if need be. Raises ConnectionLost."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise errors.ConnectionLost(f"the connection to {self._address} broke: {error}") from error

    def wait(self, deadline: float) -> bool:
        """Wait until bytes can be sent or received, and tell whether there are some to receive. Raises RequestTimeout."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | select.POLLOUT)
        ready = poll.poll(_left(deadline) * 1_000)
        if not ready:
            raise errors.RequestTimeout("the daemon took no bytes within the timeout")
        return bool(ready[0][1] & ~select.POLLOUT)

    def is_open(self) -> bool:
        """Tell whether an idle connection is still open: the daemon has said nothing, not even good-bye."""
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def interrupt(self) -> None:
        """End the connection from another thread: whoever waits on it gets ConnectionLost."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            self._socket.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _set_timeout(self, timeout: float | None) -> None:
        # Each change costs a system call, and calls with the same timeout differ by microseconds when they get here.
        if timeout is None or abs(self._timeout - timeout) > timeout / 100:
            self._socket.settimeout(timeout)
            self._timeout = 0.0 if timeout is None else timeout


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise errors.RequestTimeout("no reply within the timeout")
    return left
