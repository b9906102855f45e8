"""One socket and its protocol, for the thread that has it."""

from __future__ import annotations

import select
import socket
import struct
from contextlib import suppress
from time import monotonic
from typing import Final, Generic, TypeVar

from recollectd.client.address import Address, reachable
from recollectd.client.core import Answer, Connection
from recollectd.protocol import errors
from recollectd.protocol.messages.connection import Hello, Welcome

Token = TypeVar("Token")

_BLOCKED_S_MAX: Final = 1
_BLOCKED_MAX: Final = struct.pack("ll", _BLOCKED_S_MAX, 0)  # a timeval


class Channel(Generic[Token]):
    """A connection to the daemon, used by one thread at a time. After any exception it is of no more use: close it.

    Sending never blocks; where a thread has to wait for either direction it polls. Receiving blocks in the system call
    itself, which saves one, and comes back now and then to see whether the time is up.

    generation: of the session it was opened in; used_at: when it was last given back, monotonic seconds.
    """

    def __init__(self, address: Address) -> None:
        self.core: Connection[Token] = Connection()
        self.generation = 0
        self.used_at = 0.0
        self._address = address
        family = socket.AF_UNIX if address.path else socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        self._ready = select.poll()
        self._ready.register(self._socket, select.POLLIN | select.POLLOUT)

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
            self._socket.setblocking(True)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _BLOCKED_MAX)
            self.send_all(self.core.greet(hello), deadline)
            while self.core.welcome is None:
                self.receive(deadline)
        except (OSError, errors.ConnectionLost, errors.RequestTimeout) as error:
            reason = str(error) or "no answer in time"
            raise errors.DaemonUnavailable(f"no daemon answers at {self._address}: {reason}") from error
        return self.core.welcome

    def receive(self, deadline: float | None) -> list[Answer[Token]]:
        """Wait for bytes and return the answers they complete, if any. deadline: None waits for ever.

        Raises RequestTimeout, ConnectionLost, ProtocolError.
        """
        while True:
            left = _BLOCKED_S_MAX if deadline is None else _left(deadline)
            if left < _BLOCKED_S_MAX and not self._readable.poll(left * 1_000):
                raise errors.RequestTimeout("no reply within the timeout")
            try:
                size = self._socket.recv_into(self.core.room())
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._broken(error) from error
            if not size:
                raise errors.ConnectionLost(f"the daemon at {self._address} closed the connection")
            return self.core.receive(size)

    def send(self, data: bytes | memoryview) -> int:
        """Send what fits without waiting and return how many bytes that were. Raises ConnectionLost."""
        try:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._broken(error) from error

    def send_all(self, data: bytes, deadline: float) -> None:
        """Send some bytes while nothing large is under way, waiting for room if need be."""
        rest = memoryview(data)
        while rest := rest[self.send(rest) :]:
            self.wait(deadline)

    def wait(self, deadline: float) -> bool:
        """Wait until bytes can be sent or received; tell whether there are some to receive. Raises RequestTimeout."""
        ready = self._ready.poll(_left(deadline) * 1_000)
        if not ready:
            raise errors.RequestTimeout("the daemon took no bytes within the timeout")
        return bool(ready[0][1] & ~select.POLLOUT)

    def is_open(self) -> bool:
        """Tell whether an idle connection is still open: the daemon has said nothing, not even good-bye."""
        return not self._readable.poll(0)

    def interrupt(self) -> None:
        """End the connection from another thread: whoever waits on it gets ConnectionLost."""
        with suppress(OSError):  # not connected, or not any more
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _broken(self, error: OSError) -> errors.ConnectionLost:
        return errors.ConnectionLost(f"the connection to {self._address} broke: {error}")


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise errors.RequestTimeout("no reply within the timeout")
    return left
