"""The connections of a blocking client, and the lock of everything its threads share.

A thread that calls takes a connection out of the pool and gives it back with the answer; while it has it, no other
thread touches it. So a call is one send and one receive in the calling thread: no hand-over between threads, which
would cost more than the call. The daemon groups the commits of all connections, so that having more of them loses
nothing; threads beyond `connections_max` wait in line, and a connection given back goes to the first of them.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, TypeAlias

from recollectd.client.address import Address
from recollectd.client.blocking.channel import Channel
from recollectd.client.session import Operation, Session
from recollectd.protocol import errors
from recollectd.protocol.messages.connection import Hello

IDLE_S_MAX: Final = 60.0
"""An idle connection is closed after so long, when the pool is next used."""

OperationChannel: TypeAlias = Channel[Operation]


class _Waiter:
    """A thread in line: for a connection, or for the right to open one (`granted` without a channel)."""

    __slots__ = ("channel", "granted", "woken")

    def __init__(self) -> None:
        self.woken = threading.Lock()
        self.woken.acquire()
        self.granted = False
        self.channel: OperationChannel | None = None


class Pool:
    """Opens, lends and closes connections.

    lock: guards the session, too. room: a condition of that lock that tells of answers. watches: what closes each open
    watch. rescue: called with the deadline when no daemon answers, before one more attempt; it may start one.
    """

    def __init__(self, address: Address, client_name: str, connections_max: int) -> None:
        self.lock = threading.Lock()
        self.room = threading.Condition(self.lock)
        self._waiting_for_room = 0
        self.session = Session()
        self.watches: set[Callable[[], None]] = set()
        self.rescue: Callable[[float], None] | None = None
        self._address = address
        self._client_name = client_name
        self._connections_max = connections_max
        self._process = os.getpid()
        self._first = threading.Lock()
        self._closed = threading.Event()
        self._idle: deque[OperationChannel] = deque()  # lent from the right: the leftmost idles longest
        self._waiters: deque[_Waiter] = deque()
        self._size = 0  # connections to lend: idle, lent or being opened
        self._channels: set[Channel[Any]] = set()  # those and the watches'

    def lease(self, deadline: float) -> OperationChannel:
        """Return a connection for this thread alone, opening one if all are lent and another is allowed.

        Raises ClientClosed, UsedAfterFork, RequestTimeout when none came free, and what opening one raises.
        """
        self.check_usable()
        waiter: _Waiter | None = None
        with self.lock:
            self._close_idle()
            channel = self._take_idle()
            if channel is not None:
                return channel
            if self._may_open():
                self._size += 1
            else:
                waiter = _Waiter()
                self._waiters.append(waiter)
        if waiter is not None:
            channel = self._wait_in_line(waiter, deadline)
        return channel or self._open(deadline)

    def _wait_in_line(self, waiter: _Waiter, deadline: float) -> OperationChannel | None:
        try:
            waiter.woken.acquire(timeout=max(deadline - monotonic(), 0))
        except BaseException:
            with self.lock:
                self._leave_line(waiter)
            raise
        with self.lock:
            if waiter.granted:
                return waiter.channel
            self._leave_line(waiter)
        self.check_usable()
        raise errors.RequestTimeout(
            f"all {self._connections_max} connections of this client stayed in use: raise connections_max"
        )

    def give_back(self, channel: OperationChannel) -> None:
        """Take back a connection on which every request has been answered."""
        channel.used_at = monotonic()
        with self.lock:
            if channel.generation == self.session.generation and not self._closed.is_set():
                self._idle.append(channel)
            else:
                self._drop(channel)
            self._serve_waiters()

    def discard(self, channel: OperationChannel) -> None:
        """Close a lent connection that is of no more use."""
        with self.lock:
            self._drop(channel)
            self._serve_waiters()

    def connect(self, deadline: float) -> Channel[Any]:
        """Open a connection in this client's session, which `close` can interrupt; `disconnect` ends it."""
        if self.session.session_id:
            return self._introduce(deadline)
        # The first connection brings the session that the others go on with: they wait for it.
        if not self._first.acquire(timeout=max(deadline - monotonic(), 0)):
            raise errors.RequestTimeout("the client's first connection took longer than the timeout")
        try:
            return self._introduce(deadline)
        finally:
            self._first.release()

    def _introduce(self, deadline: float) -> Channel[Any]:
        rescue = self.rescue
        while True:
            with self.lock:
                hello = self.session.hello(self._client_name)
            try:
                channel = self._connect(hello, deadline)
                break
            except errors.SessionForeign:
                if not hello.session_id:
                    raise
                with self.lock:
                    self.session.forget()
            except errors.DaemonUnavailable:
                if rescue is None:
                    raise
                rescue(deadline)
                rescue = None
        with self.lock:
            assert channel.core.welcome is not None
            self.session.welcome(channel.core.welcome)
            channel.generation = self.session.generation
        return channel

    def _connect(self, hello: Hello, deadline: float) -> Channel[Any]:
        try:
            channel: Channel[Any] = Channel(self._address)
        except OSError as error:
            raise errors.DaemonUnavailable(f"no connection to {self._address}: {error}") from error
        with self.lock:
            self._channels.add(channel)
        try:
            channel.open(hello, deadline)
            self.check_usable()  # closed meanwhile: `close` may have missed a connection that was not one yet
        except BaseException:
            self.disconnect(channel)
            raise
        return channel

    def disconnect(self, channel: Channel[Any]) -> None:
        """Close a connection that `connect` gave."""
        with self.lock:
            self._channels.discard(channel)
        channel.close()

    def pause(self, delay_s: float) -> None:
        """Wait between attempts. Raises ClientClosed when the client is closed meanwhile."""
        self._closed.wait(delay_s)
        self.check_usable()

    def check_usable(self) -> None:
        """Raise UsedAfterFork in a child process, ClientClosed after close."""
        if os.getpid() != self._process:
            raise errors.UsedAfterFork()
        if self._closed.is_set():
            raise errors.ClientClosed()

    def close(self) -> None:
        """Close all connections and wake every thread that waits; it gets ClientClosed."""
        if os.getpid() != self._process:
            # The locks may be held by threads that this process does not have, and the connections are the parent's:
            # they are let go of without a word to the daemon.
            for channel in self._channels:
                channel.close()
            return
        with self.lock:
            self._closed.set()
            while self._idle:
                self._drop(self._idle.pop())
            for channel in self._channels:
                channel.interrupt()  # its thread closes it, and what it gives up makes room for others to wake
            for waiter in self._waiters:
                waiter.woken.release()
            self._waiters.clear()
        for close_watch in list(self.watches):
            close_watch()

    def _open(self, deadline: float) -> OperationChannel:
        opened = False
        try:
            channel = self.connect(deadline)
            opened = True
        finally:
            with self.lock:
                self._size -= 0 if opened else 1
                self._serve_waiters()
        return channel

    # With the lock held:

    def wait_for_room(self, patience_s: float) -> bool:
        """Wait for answers to other threads' writes; tell whether there were any."""
        self._waiting_for_room += 1
        try:
            return self.room.wait(patience_s)
        finally:
            self._waiting_for_room -= 1

    def tell_of_room(self) -> None:
        """Wake those who wait for answers."""
        if self._waiting_for_room:
            self.room.notify_all()

    def _may_open(self) -> bool:
        return self._size < self._connections_max

    def _take_idle(self) -> OperationChannel | None:
        while self._idle:
            channel = self._idle.pop()
            # A request risked on a connection that the daemon has closed would be in doubt.
            if channel.generation == self.session.generation and channel.is_open():
                return channel
            self._drop(channel)
        return None

    def _close_idle(self) -> None:
        now = monotonic()
        while self._idle and now - self._idle[0].used_at > IDLE_S_MAX:
            self._drop(self._idle.popleft())

    def _serve_waiters(self) -> None:
        while self._waiters:
            channel = self._take_idle()
            if channel is None:
                if not self._may_open():
                    return
                self._size += 1
            waiter = self._waiters.popleft()
            waiter.channel, waiter.granted = channel, True
            waiter.woken.release()

    def _leave_line(self, waiter: _Waiter) -> None:
        """Take a thread out of the line; what it has been granted goes to the next."""
        if waiter.channel is not None:
            self._idle.append(waiter.channel)
        elif waiter.granted:
            self._size -= 1
        elif waiter in self._waiters:
            self._waiters.remove(waiter)
        self._serve_waiters()

    def _drop(self, channel: OperationChannel) -> None:
        self._size -= 1
        self._channels.discard(channel)
        channel.close()
