"""Telling buffers what others wrote: one watch for all buffers of a client's namespace, in a thread of its own."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING, Final, Protocol

from recollectd.client.blocking.pool import Pool
from recollectd.client.results import Change
from recollectd.protocol import errors

if TYPE_CHECKING:
    from recollectd.client.blocking.client import Client
    from recollectd.client.blocking.watch import Watch

_LOG: Final = logging.getLogger("recollectd.client.agents")
_AGAIN_S: Final = 0.25
"""Between the end of a watch and the next: the client itself has tried for its timeout before."""


class Follows(Protocol):
    """Wants to know of one conversation."""

    def told(self, operation: str, following: int) -> None:
        """Take the news: append, create or delete; `following` is the conversation's next position."""

    def missed(self) -> None:
        """Read afresh: changes may have been missed."""


class Follower:
    """Watches one namespace for as long as somebody follows."""

    def __init__(self, client: Client) -> None:
        self._client = client
        # Reentrant, both locks: the garbage collector may call `leave` in a thread that holds them.
        self._lock = threading.RLock()
        self._followed: dict[str, list[weakref.ref[Follows]]] = {}
        self._watch: Watch | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recollectd-buffers", daemon=True)

    def join(self, conversation_id: str, follows: Follows) -> bool:
        """Tell somebody of a conversation from now on; False when this follower has ended."""
        with self._lock:
            if self._ended.is_set():
                return False
            first = not self._followed
            self._followed.setdefault(conversation_id, []).append(weakref.ref(follows))
            if first and not self._thread.is_alive():
                self._thread.start()
            return True

    def leave(self, conversation_id: str) -> None:
        """Forget who is gone or has closed (see `closed`); with nobody left the watch ends."""
        with self._lock:
            left = [one for one in self._followed.get(conversation_id, []) if one() is not None]
            if left:
                self._followed[conversation_id] = left
            else:
                self._followed.pop(conversation_id, None)
            if self._followed:
                return
            self._ended.set()
            watch = self._watch
        _forget(self)
        if watch is not None:
            watch.close()

    def closed(self, conversation_id: str, follows: Follows) -> None:
        """Stop telling somebody."""
        with self._lock:
            known = self._followed.get(conversation_id, [])
            self._followed[conversation_id] = [one for one in known if one() is not follows]
        self.leave(conversation_id)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with self._client.watch(kinds=("conversation",)) as watch:
                    with self._lock:
                        self._watch = watch
                        if self._ended.is_set():
                            return
                    self._tell_all()
                    for change in watch:
                        self._tell(change)
            except (errors.ClientClosed, errors.UsedAfterFork):
                with self._lock:
                    self._ended.set()
                _forget(self)
                return
            except errors.RecollectdError as error:
                _LOG.warning("what others persist is not seen for now: %s", error)
                self._ended.wait(_AGAIN_S)

    def _tell(self, change: Change) -> None:
        if change.namespace != self._client.namespace:
            return
        for follows in self._followers(change.key):
            try:
                follows.told(change.operation, change.version)
            except errors.RecollectdError as error:
                # One that cannot be brought up to date now is so with the next news, or by the watch's next beginning.
                _LOG.warning("news of %r could not be read: %s", change.key, error)

    def _tell_all(self) -> None:
        with self._lock:
            names = list(self._followed)
        for name in names:
            for follows in self._followers(name):
                try:
                    follows.missed()
                except errors.RecollectdError as error:
                    _LOG.warning("news of %r could not be read: %s", name, error)

    def _followers(self, conversation_id: str) -> list[Follows]:
        with self._lock:
            alive = [one() for one in self._followed.get(conversation_id, [])]
        return [one for one in alive if one is not None]


_lock: Final = threading.RLock()
_followers: Final[dict[tuple[Pool, tuple[str, ...]], Follower]] = {}


def follow(client: Client, conversation_id: str, follows: Follows) -> Follower:
    """Have somebody told of a conversation of the client's namespace; views of one client share a watch."""
    key = (client._engine.pool, client.namespace)
    with _lock:
        follower = _followers.get(key)
        if follower is None or not follower.join(conversation_id, follows):
            follower = _followers[key] = Follower(client)
            follower.join(conversation_id, follows)
        return follower


def _forget(follower: Follower) -> None:
    """Let go of a follower that has ended, and with it of its client."""
    with _lock:
        for key in [key for key, known in _followers.items() if known is follower]:
            del _followers[key]
