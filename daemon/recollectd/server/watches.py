"""Watches: telling connections of changes, from any retained journal position on.

A watch first catches up from the journal, in bounded steps on a worker thread, then follows what is applied. One that
does not take what it is sent within bounds is cut off with RESYNC; nothing is kept for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from recollectd.journal.interface import Journal, JournalTrimmed
from recollectd.memory.commits import Commit, decode, describe
from recollectd.memory.kind import Event
from recollectd.memory.refusals import error_reply
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.fields import Kind, Reply
from recollectd.protocol.messages.transactions import Change, Changes, Watch
from recollectd.server.pending import Pending
from recollectd.server.reads import internal_error
from recollectd.storage.keyspace import namespace_end, namespace_prefix, split_record_key, text_bytes

_CATCH_UP_COMMITS = 1_000
_CATCH_UP_BYTES = 1024 * 1024
# Of what is applied at once a frame tells about so much, and at least a whole commit.
_TOLD_BYTES = 1024 * 1024
_WATCHED_KINDS = frozenset(
    (
        *(Kind.STATE, Kind.LOG, Kind.CONVERSATION, Kind.MEMORY, Kind.VECTOR_SPACE),
        *(Kind.SETTINGS, Kind.SEARCH_SETTINGS),
    )
)


class Selection(NamedTuple):
    """What a watch wants to hear of."""

    namespace: bytes
    prefix: bytes
    kinds: frozenset[int]
    values: bool

    @staticmethod
    def of(request: Watch) -> Selection:
        """Return the selection of a request. Raises InvalidArgument naming the field at fault."""
        kinds = frozenset(request.kinds)
        if not kinds <= _WATCHED_KINDS:
            raise errors.InvalidArgument(f"there is no kind {min(kinds - _WATCHED_KINDS)}", field="kinds")
        return Selection(
            namespace_prefix(request.namespace),
            text_bytes(request.prefix, "prefix", limits.KEY_BYTES_MAX, empty=True),
            kinds or _WATCHED_KINDS,
            request.values,
        )

    def wants(self, event: Event) -> bool:
        """Return whether an event is to be told."""
        key = event.key
        if not key or key[0] not in self.kinds or not key.startswith(self.namespace, 1):
            return False
        return key.startswith(self.prefix, namespace_end(key))

    def changes(self, seq: int, commit: Commit) -> Iterator[Change]:
        """Return what to tell of a commit."""
        for event in commit.events:
            if event.alters and self.wants(event):
                kind, namespace, key = split_record_key(event.key)
                description = describe(event)
                data = description.data if self.values else None
                yield Change(seq, kind, description.operation, namespace, key, commit.time, description.version, data)


class Watcher:
    """One watch of one connection. send: gives the connection a reply; backlog_bytes: what it has not taken yet."""

    def __init__(
        self, selection: Selection, position: int, send: Callable[[int, Reply], None], backlog_bytes: Callable[[], int]
    ) -> None:
        self.selection = selection
        self.position = position
        self.send = send
        self.backlog_bytes = backlog_bytes
        self.live = False
        self.ended = False

    def tell(self, seq: int, changes: list[Change]) -> None:
        """Send changes; everything up to seq is told then."""
        self.position = seq
        if changes:
            self.send(seq, Changes(tuple(changes), seq))

    def follow(self, applied: list[tuple[int, Commit]]) -> None:
        """Send what is wanted of commits just applied, in frames that are not too large."""
        changes: list[Change] = []
        size = 0
        for seq, commit in applied:
            if seq <= self.position:
                continue  # it asked for what is behind its own write, which was not applied then
            if size > _TOLD_BYTES:
                self.tell(seq - 1, changes)
                changes, size = [], 0
            for change in self.selection.changes(seq, commit):
                changes.append(change)
                size += _told_bytes(change)
        self.tell(max(self.position, applied[-1][0]), changes)

    def cut_off(self, error: errors.RecollectdError) -> None:
        """End the watch and say why."""
        if not self.ended:
            self.ended = True
            self.send(self.position, error_reply(error))


class Watches:
    """All watches of the daemon."""

    def __init__(
        self,
        journal: Journal,
        pool: ThreadPoolExecutor,
        call_soon_threadsafe: Callable[..., object],
        call_later: Callable[..., object],
        applied_seq: Callable[[], int],
    ) -> None:
        self._journal = journal
        self._pool = pool
        self._call_soon_threadsafe = call_soon_threadsafe
        self._call_later = call_later
        self._applied_seq = applied_seq
        self._watchers: set[Watcher] = set()

    def __len__(self) -> int:
        return len(self._watchers)

    def add(self, watcher: Watcher) -> None:
        """Begin a watch at its position. Raises Resync when that is trimmed, InvalidArgument when it is to come."""
        if watcher.position > self._journal.last_seq:
            raise errors.InvalidArgument("lies beyond the journal's end", field="position")
        if watcher.position + 1 < self._journal.first_seq:
            raise errors.Resync(f"the journal begins at {self._journal.first_seq}")
        self._watchers.add(watcher)
        self._go_on(watcher)

    def remove(self, watcher: Watcher) -> None:
        """End a watch; again: nothing."""
        watcher.ended = True
        self._watchers.discard(watcher)

    def on_applied(self, last_seq: int, applied: list[Pending]) -> None:
        """Tell the watches that have caught up."""
        if not self._watchers:
            return
        commits = [(item.seq, item.commit) for item in applied]
        for watcher in tuple(self._watchers):
            if watcher.live:
                watcher.follow(commits)
                self._check(watcher)

    def _check(self, watcher: Watcher) -> None:
        if watcher.backlog_bytes() > limits.WATCH_QUEUE_BYTES_MAX:
            watcher.cut_off(errors.Resync("the watcher did not keep up"))
            self.remove(watcher)

    def _go_on(self, watcher: Watcher) -> None:
        """Catch up by one more step, or follow what is applied from here on."""
        if watcher.ended:
            self._watchers.discard(watcher)
        elif watcher.position >= self._applied_seq():
            watcher.live = True
        elif watcher.backlog_bytes() > limits.WATCH_QUEUE_BYTES_MAX // 2:
            self._call_later(0.05, self._go_on, watcher)  # the watcher sets the pace of what lies in the past
        else:
            self._pool.submit(self._step, watcher, self._applied_seq())

    def _step(self, watcher: Watcher, applied_seq: int) -> None:
        """On a worker thread: read the next commits."""
        try:
            changes, position = _read_changes(self._journal, watcher.selection, watcher.position, applied_seq)
        except JournalTrimmed:
            trimmed = errors.Resync("the journal was trimmed past the watch")
            self._call_soon_threadsafe(self._end, watcher, trimmed)
        except Exception as error:  # such as a bit flipped in the past; silence would look like peace
            self._call_soon_threadsafe(self._end, watcher, internal_error(error))
        else:
            self._call_soon_threadsafe(self._stepped, watcher, changes, position)

    def _stepped(self, watcher: Watcher, changes: list[Change], position: int) -> None:
        if not watcher.ended:
            watcher.tell(position, changes)
        self._go_on(watcher)

    def _end(self, watcher: Watcher, error: errors.RecollectdError) -> None:
        watcher.cut_off(error)
        self.remove(watcher)


def _told_bytes(change: Change) -> int:
    """Return about how much a change takes in a frame, rather too much."""
    names = len(change.key) + sum(map(len, change.namespace))
    return 64 + 4 * names + len(change.data or b"")


def _read_changes(journal: Journal, selection: Selection, position: int, applied_seq: int) -> tuple[list[Change], int]:
    """Return what to tell of the next commits behind a position, and how far that goes."""
    changes: list[Change] = []
    size = 0
    commits = (
        (batch.first_seq + index, payload)
        for batch in journal.read(position + 1)
        for index, payload in enumerate(batch.entries)
        if batch.first_seq + index > position
    )
    for seq, payload in itertools.islice(commits, _CATCH_UP_COMMITS):
        if seq > applied_seq or size > _CATCH_UP_BYTES:
            break
        changes += selection.changes(seq, decode(payload))
        position = seq
        size += len(payload)
    return changes, position
