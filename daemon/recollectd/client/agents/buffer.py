"""A conversation with a buffer before it: reads come from memory, writes go to the daemon many at a time."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from recollectd.client.agents.entries import BlockCalls, Entry, Tail, block_of, checked, find_run
from recollectd.client.agents.following import Follower, follow
from recollectd.client.arguments import name, optional_whole, whole
from recollectd.client.blocking.client import Client
from recollectd.protocol import errors, limits

if TYPE_CHECKING:
    from recollectd.client.blocking.faces import Transaction
    from recollectd.client.calls import Blocking
    from recollectd.client.times import Moment

_LOG: Final = logging.getLogger("recollectd.client.agents")

BUFFER_SIZE_MAX: Final = 1_000_000
UNPERSISTED_MAX: Final = 100_000
UNPERSISTED_BYTES_MAX: Final = 8 * limits.VALUE_BYTES_MAX
"""What may wait in memory while no daemon answers; beyond it `add_message` refuses."""


class PersistentBufferMemory:
    """The history of one agent: its newest messages in memory, all that was persisted in the daemon.

    agent_id: whose history it is. Instances with one id, in any process, share one history and see it in one order;
        others know nothing of it. It is the conversation of this id in the client's namespace.
    buffer_size: the buffer holds so many of the newest messages.
    auto_persist_interval: persist after so many new messages; None: only when `persist` is called.
    enable_compression: changes nothing, and is taken for programs that pass it. The daemon's storage compresses all
        messages with their neighbours, in the background, when it compacts: no persist waits for it, no read sees it,
        and a history that is not compressed would be larger and no quicker.
    client: a client to share, which stays open; without one the memory opens its own, as `Client()` does.

    The order of a history is the order in which messages were persisted; an instance shows its own messages that are
    not persisted yet behind all others. What other instances persist appears in the buffer as soon as the daemon tells
    of it: milliseconds as a rule, within a second after a lost connection is back. Threads may share an instance.

    An automatic persist that fails loses nothing: the messages stay, `failure` says why, the next interval tries
    again. A persist whose outcome is not known (RequestTimeout) is looked up before the next one, so that a message
    is stored once. `close` persists what is left, unless that is done by hand, and says what was not persisted.
    """

    def __init__(
        self,
        agent_id: str,
        buffer_size: int = 100,
        auto_persist_interval: int | None = 10,
        enable_compression: bool = True,
        *,
        client: Client | None = None,
    ) -> None:
        self.agent_id = name(agent_id, "agent_id")
        self.buffer_size = whole(buffer_size, "buffer_size", least=1, most=BUFFER_SIZE_MAX)
        self.auto_persist_interval = optional_whole(
            auto_persist_interval, "auto_persist_interval", least=1, most=UNPERSISTED_MAX
        )
        if not isinstance(enable_compression, bool):
            raise errors.InvalidArgument("must be True or False", field="enable_compression")
        self.enable_compression = enable_compression
        self._owns_client = client is None
        self._client = Client(name="buffer") if client is None else client
        self._calls: BlockCalls[Blocking] = BlockCalls(self._client._face, self._client.namespace)
        self._store = threading.RLock()  # one exchange with the daemon at a time; taken before `_memory`
        self._memory = threading.Lock()  # guards what follows, for moments
        self._tail: deque[Entry] = deque(maxlen=buffer_size)
        self._next = 0  # the position behind the tail's last message
        self._floor = 0  # messages before this position were cleared from the buffer
        self._pending: deque[Entry] = deque()
        self._pending_bytes = 0
        self._attempt_at = auto_persist_interval or 0
        self._last_us = 0
        self._unknown: tuple[int, int] | None = None  # that many pending ones may be stored, not before this position
        self._failure: errors.RecollectdError | None = None
        self._closed = False
        try:
            self._follower: Follower = follow(self._client, agent_id, self)
            self._gone = weakref.finalize(self, self._follower.leave, agent_id)
            self.load_from_db()
        except BaseException:
            self._end()
            raise

    def add_message(
        self,
        role: str,
        content: str,
        *,
        timestamp: Moment | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Add a message to the buffer; persist when the interval is full.

        role: `user` or `assistant`; content: not empty; timestamp: when it was said, else now. Raises InvalidArgument
        and TooLarge naming the field, TooLarge also when more waits to be persisted than memory is given for.
        """
        with self._memory:
            self._check_open()
            entry = checked(role, content, timestamp, metadata, self._last_us)
            if len(self._pending) >= UNPERSISTED_MAX or self._pending_bytes + entry.size > UNPERSISTED_BYTES_MAX:
                raise errors.TooLarge(
                    f"{len(self._pending)} messages wait to be persisted, and no more may: call persist",
                    field="auto_persist_interval",
                )
            self._pending.append(entry)
            self._pending_bytes += entry.size
            self._last_us = max(self._last_us, entry.time_us)
            due = self.auto_persist_interval is not None and len(self._pending) >= self._attempt_at
        if due:
            self._persist_or_remember()

    def get_history(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the newest `limit` messages of the buffer in order, or all that it holds.

        Each is a dictionary of role, content, timestamp (ISO-8601) and, if it was given, metadata. Asks no daemon;
        what is older than the buffer comes by `load_from_db`.
        """
        optional_whole(limit, "limit")
        wanted = self.buffer_size if limit is None else min(limit, self.buffer_size)
        with self._memory:
            newest = list(islice(reversed(self._pending), wanted))
            newest.extend(islice(reversed(self._tail), wanted - len(newest)))
        newest.reverse()
        return [entry.shown() for entry in newest]

    def persist(self) -> int:
        """Store what is not stored yet and return how many messages that were; each block of them whole or not at all.

        Raises what the daemon or the way to it raises; the messages then stay for the next persist.
        """
        persisted = 0
        with self._store:
            while True:
                with self._memory:
                    self._check_open()
                    block = self._next_block()
                if not block:
                    self._failure = None
                    return persisted
                self._write(block)
                persisted += len(block)

    def load_from_db(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Read the newest messages that are stored, `limit` of them or a buffer full, and return them in order.

        The buffer then holds these, as far as it has room, and behind them what is not persisted.
        """
        optional_whole(limit, "limit", least=1)
        with self._store:
            self._check_open()
            tail = self._read(self.buffer_size if limit is None else limit)
            with self._memory:
                self._floor = tail.first
                self._take(tail)
            return [entry.shown() for entry in tail.entries]

    def clear_buffer(self) -> list[dict[str, Any]]:
        """Empty the buffer and leave the store as it is; return what was not persisted, and now never will be."""
        with self._store, self._memory:
            self._check_open()
            return self._clear()

    def delete_history(self) -> bool:
        """Delete the stored history and empty the buffer; return whether anything was stored."""
        with self._store:
            self._check_open()
            existed = self._client.conversations.delete(self.agent_id)
            with self._memory:
                self._clear()
                self._next = self._floor = 0
            return existed

    @property
    def unpersisted(self) -> int:
        """How many messages are in the buffer alone."""
        return len(self._pending)

    @property
    def failure(self) -> errors.RecollectdError | None:
        """Why the last automatic persist failed; None when it did not."""
        return self._failure

    def close(self) -> list[dict[str, Any]]:
        """Persist what is left, unless that is done by hand; return what was not persisted, and log that there is any.

        A client that the memory opened itself is closed.
        """
        with self._store:
            if self._closed:
                return []
            if self.auto_persist_interval is not None:
                self._persist_or_remember()
            with self._memory:
                left = [entry.shown() for entry in self._pending]
            if left:
                _LOG.warning(
                    "%d messages of agent %r were not persisted%s",
                    *(len(left), self.agent_id, f": {self._failure}" if self._failure is not None else ""),
                )
            self._end()
            return left

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def told(self, operation: str, following: int) -> None:
        """Take news of the history: what somebody appended is read, what was deleted is dropped."""
        with self._store:
            if operation == "delete":
                with self._memory:
                    self._tail.clear()
                    self._next = self._floor = 0
            elif operation == "append" and following > self._next:
                self.missed()

    def missed(self) -> None:
        """Read what may have been appended since the buffer was last brought up to date."""
        with self._store:
            if not self._closed:
                tail = self._read(self.buffer_size)
                with self._memory:
                    self._take(tail)

    def _check_open(self) -> None:
        if self._closed:
            raise errors.ClientClosed("the memory was closed")

    def _end(self) -> None:
        self._closed = True
        if hasattr(self, "_gone"):
            self._gone.detach()
            self._follower.closed(self.agent_id, self)
        if self._owns_client:
            self._client.close()

    def _clear(self) -> list[dict[str, Any]]:
        lost = [entry.shown() for entry in self._pending]
        self._tail.clear()
        self._pending.clear()
        self._pending_bytes, self._unknown = 0, None
        self._floor, self._attempt_at = self._next, self.auto_persist_interval or 0
        return lost

    def _take(self, tail: Tail) -> None:
        """Have the tail hold these messages, without those that were cleared."""
        if tail.next < self._floor:
            self._floor = 0  # the history was deleted and begins anew
        self._tail.clear()
        self._tail.extend(tail.entries[max(0, self._floor - tail.first) :])
        self._next = tail.next

    def _read(self, last: int) -> Tail:
        """Read the newest messages, in as many pages as it takes."""
        try:
            newest = tail = self._calls.tail(self.agent_id, last)
            pages = [tail.entries]
            left = last - len(tail.entries)
            while left > 0 and tail.first > 0:
                tail = self._calls.tail(self.agent_id, left, tail.first)
                pages.append(tail.entries)
                left -= len(tail.entries)
        except errors.NotFound:
            return Tail(0, [], 0)
        return Tail(tail.first, [entry for page in reversed(pages) for entry in page], newest.next)

    def _persist_or_remember(self) -> None:
        try:
            self.persist()
        except errors.RecollectdError as error:
            self._failure = error
            with self._memory:
                self._attempt_at = len(self._pending) + (self.auto_persist_interval or 0)
            _LOG.warning("messages of agent %r are not persisted yet: %s", self.agent_id, error)

    def _next_block(self) -> list[Entry]:
        if self._unknown is not None:  # what may be stored is looked up as the block that it was
            return list(islice(self._pending, self._unknown[0]))
        return block_of(self._pending)

    def _write(self, block: list[Entry]) -> None:
        """Store a block, once, and move it from what is pending to the tail."""
        try:
            position = self._append(block) if self._unknown is None else self._append_unless_there(block)
        except (errors.InvalidArgument, errors.TooLarge, errors.DiskFull, errors.NotFound):
            raise  # refused: nothing was stored
        except BaseException:
            self._unknown = self._unknown or (len(block), self._next)
            raise
        others = self._read(self.buffer_size) if position != self._next else None
        with self._memory:
            for entry in block:
                self._pending.popleft()
                self._pending_bytes -= entry.size
            self._unknown, self._attempt_at = None, self.auto_persist_interval or 0
            if others is None:
                self._tail.extend(block)
                self._next = position + len(block)
            else:
                self._take(others)

    def _append(self, block: list[Entry]) -> int:
        """Append a block, creating the conversation if there is none yet; return the first position."""
        try:
            return self._calls.append(self.agent_id, block)
        except errors.NotFound:
            with suppress(errors.AlreadyExists):  # another instance was quicker
                self._client.conversations.create(self.agent_id)
            return self._calls.append(self.agent_id, block)

    def _append_unless_there(self, block: list[Entry]) -> int:
        """Append a block that an earlier attempt may have stored, or may be storing now; return where it lies."""
        assert self._unknown is not None
        since = self._unknown[1]

        def append(transaction: Transaction) -> int:
            # What is read first is guarded: if the earlier attempt is carried out after it, all this begins anew.
            info = transaction.conversations.info(self.agent_id)
            total = 0 if info is None else info.total_messages
            found = find_run(self._calls, self.agent_id, block, since if since <= total else 0)
            if found is not None:
                return found
            if info is None:
                transaction.conversations.create(self.agent_id)
            calls: BlockCalls[Any] = BlockCalls(transaction._face, transaction.namespace)
            calls.append(self.agent_id, block)
            return total

        return self._client.transact(append)
