"""The views over memories, keywords and vectors: they follow the journal like the records do, a moment later.

A commit that is applied is noted; a thread reads the records it changed and tells the views. A search waits until what
was applied before it has reached them, so whoever has the reply to a write finds it, over any connection. Nothing of
this is in the way of a write.

Which records commits changed stands in rows written with them (`keyspace.change_key`), until both views have made it
durable. So after a crash the views go on from there, and an idle view holds up nothing. A view that is lost or damaged
is made anew from the records.

Threads: `note` is called by the event loop, `catch_up` and the searches by workers; what the views are told comes from
one thread, what makes them durable from another.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import structs

from recollectd.memory.kind import WriteOperation
from recollectd.memory.memories import indexing, said
from recollectd.memory.memories.brought import BROUGHT_BYTES_MAX, Brought
from recollectd.memory.memories.erasing import Erasing
from recollectd.memory.memories.events import noted
from recollectd.memory.memories.heads import SpaceHead, decode_head, decode_space, is_changed_memory, noted_memory
from recollectd.memory.memories.indexing import Spaces, scope_of
from recollectd.memory.memories.known import KnownMemories, KnownSpaces
from recollectd.memory.memories.saving import Saving
from recollectd.memory.memories.scanning import all_vectors, finish, walk
from recollectd.memory.memories.scopes import SearchScopes, newer_messages
from recollectd.memory.memories.standing import StandingFilters
from recollectd.memory.memories.view_options import ViewOptions
from recollectd.protocol import errors
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.engine import Engine
from recollectd.storage.keyspace import (
    CHANGES_TRIMMED_KEY,
    DELETE_RANGE,
    PUT,
    Family,
    Write,
    change_key,
    namespace_end,
    pack_number,
    split_change_key,
)
from recollectd.storage.keywords.options import Change as KeywordChange
from recollectd.storage.keywords.view import Keywords
from recollectd.storage.vectors.changes import Drop
from recollectd.storage.vectors.pressure import Pressure
from recollectd.storage.vectors.view import VectorView

log = logging.getLogger("recollectd.views")

if TYPE_CHECKING:
    from recollectd.memory.commits import Commit

T = TypeVar("T")

_MEMORY: Final = bytes((Kind.MEMORY,))
_FOLLOWED: Final = frozenset((_MEMORY, bytes((Kind.VECTOR_SPACE,))))
_REFUSED: Final = _FOLLOWED | {bytes((Kind.MESSAGE_VECTORS,))}
_STEP: Final = 256
_WALK_ROWS: Final = 1_000
_WAITING_MAX: Final = 200_000
_BUSY_RETRY_MS: Final = 50


class MemoryViews:
    """Keywords and vectors of all memories. Made by `open_views`; fatal: told what the views cannot go on after.

    on_outdated: called on the event loop when something is to be indexed anew.
    """

    def __init__(
        self, engine: Engine, keywords: Keywords, vectors: VectorView, scopes: SearchScopes, options: ViewOptions
    ) -> None:
        self.keywords = keywords
        self.scopes = scopes
        self.vectors = vectors
        self.known = KnownMemories(options.known_bytes_max * 3 // 8)
        self.known_spaces = KnownSpaces()
        self.standing = StandingFilters(options.known_bytes_max // 4)
        self._brought = Brought(min(BROUGHT_BYTES_MAX, options.known_bytes_max))
        self.fatal: Callable[[BaseException], None] = _raise
        self.on_outdated: Callable[[], None] = _nothing
        self._engine = engine
        self._spaces: Spaces = {}
        self._state = threading.Condition()
        self._waiting: list[tuple[int, bytes]] = []
        self._noted_seq = self._told_seq = engine.applied_seq
        self._trimmed_seq = 0
        self._saving = Saving(keywords, vectors, options.unsaved_changes_max)
        # Spaces that should be given no more vectors; whether anything stands against a write of memories.
        self._pressed: frozenset[tuple[bytes, str]] = frozenset()
        self._strained = False
        self._ending = False
        self._telling = threading.Thread(target=self._guarded, args=(self._tell,), name="memory-views", daemon=True)
        self._keeping = threading.Thread(target=self._guarded, args=(self._keep,), name="memory-files", daemon=True)
        self.erasing = Erasing(self.compact, lambda: self._told_seq, options.erase_interval_s)
        self._erasing = threading.Thread(
            target=self._guarded, args=(self.erasing.run,), name="memory-erasing", daemon=True
        )
        self._work = threading.Event()

    # -- following the journal -------------------------------------------------------------------------------------

    def follow(self, applied: Iterable[tuple[int, Commit]]) -> None:
        """Note what of commits just applied the views follow."""
        for number, commit in applied:
            keys: list[bytes] = []
            for event in commit.events:
                if event.key[:1] in _FOLLOWED:
                    keys += noted(event)
                else:
                    keys += self.scopes.noted(event)
            if keys:
                self._brought.note(number, commit.events)
                self.note(number, keys)
        if self.pending() is not None:
            self.on_outdated()

    def note(self, seq: int, keys: Iterable[bytes]) -> None:
        """Note that an applied commit changed memories or vector spaces."""
        with self._state:
            self._waiting.extend((seq, key) for key in keys)
            self._noted_seq = seq
            self._state.notify_all()

    @property
    def follows_messages(self) -> bool:
        """Whether messages of some namespace are searched, so that every append must be looked at."""
        return bool(self.scopes.followed)

    @property
    def told_seq(self) -> int:
        """The last commit that the views know whole."""
        return self._told_seq

    def pending(self) -> bytes | None:
        """Return a namespace of which something is being indexed anew."""
        return self.scopes.pending()

    def catch_up(self) -> None:
        """Wait until the views know everything that was noted before this call."""
        with self._state:
            wanted = self._noted_seq
            self._state.wait_for(lambda: self._told_seq >= wanted or self._ending)
            if self._told_seq < wanted:
                raise errors.ShuttingDown(retry_after_ms=1_000)

    def look_at(self, keys: Iterable[bytes], time: int) -> None:
        """Learn of memories, as of a time, whether they are in sight. On a worker thread."""
        unknown = [key for key in keys if self.known.visible.until(key) < 0]
        with self.known.seeing() as seen:
            for key, row in zip(unknown, self._engine.get_many(Family.HEADS, unknown), strict=True):
                head = None if row is None else decode_head(row)
                if head is not None and head.alive(time):
                    seen.append((key, head))

    def refuse(self, operation: WriteOperation[Any]) -> errors.Busy | None:
        """Return why a write of memories should wait, if so."""
        if not self._strained and len(self._waiting) <= _WAITING_MAX:
            return None
        if operation.frees or not any(key[:1] in _REFUSED for key in operation.keys or (_MEMORY,)):
            return None
        if len(self._waiting) > _WAITING_MAX or self.keywords.pressure >= 1:
            return errors.Busy("memories come faster than they can be indexed", retry_after_ms=_BUSY_RETRY_MS)
        # Looked at anew each time: while writes are refused, nothing is told, and merges go on.
        pressed = self._vector_pressure(self._pressed)
        self._strained = pressed is not None
        return None if pressed is None else errors.Busy(pressed.reason, retry_after_ms=pressed.retry_after_ms)

    def _vector_pressure(self, spaces: Iterable[tuple[bytes, str]]) -> Pressure | None:
        pressures = (self.vectors.pressure(scope, name) for scope, name in spaces)
        return next((pressure for pressure in pressures if pressure is not None), None)

    def start(self) -> None:
        """Begin to follow."""
        self.vectors.keep()
        self._work.set()
        self._telling.start()
        self._keeping.start()
        self._erasing.start()

    def close(self) -> None:
        """End both threads, make everything durable."""
        with self._state:
            self._ending = True
            self._state.notify_all()
        self.erasing.end()
        self._work.set()
        if self._telling.is_alive():
            self._telling.join()
            self._keeping.join()
            self.checkpoint()
        self.vectors.close()  # ends what is being built
        if self._erasing.is_alive():
            self._erasing.join()

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:
            self.fatal(error)

    def _tell(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._waiting or self._ending)
                if self._ending:
                    return
            self.tell_waiting()
            self._work.set()

    def tell_waiting(self) -> None:
        """Tell the views the first of what waits, if anything does."""
        with self._state:
            step = _whole_commits(self._waiting)
        if step:
            self.tell(step)
            with self._state:
                del self._waiting[: len(step)]
                self._told_seq = step[-1][0]
                self._state.notify_all()

    def tell(self, step: Sequence[tuple[int, bytes]]) -> None:
        """Tell the views what whole commits changed."""
        seq = step[-1][0]
        keys = [key for _, key in step]
        self._forget(keys)
        brought, spaces = self._brought.take(seq, keys), self._spaces
        if seq <= self.vectors.durable_seq:
            # Told again for keywords' sake. What is read now may be newer than what vectors can take as of that commit.
            spaces, keys = {}, [key for key in keys if key[0] != Kind.VECTOR_SPACE]
        changes = finish(indexing.index(keys, spaces, self.scopes, brought), self._engine)
        # What changes them further is told after this, and forgets them again.
        self.known.see(changes.found.values())
        self.vectors.apply(seq, changes.vectors)
        messages = dict.fromkeys(key for key in keys if said.is_message(key))
        if messages:
            self.keywords.apply_in_parts(seq, chain((changes.keywords,), self._messages(messages)))
        else:
            self.keywords.apply(seq, changes.keywords)
        self._saving.told(len(keys))
        touched = {(change.scope, change.space) for change in changes.vectors}
        pressed = {each for each in (*touched, *self._pressed) if self._vector_pressure((each,)) is not None}
        self._pressed = frozenset(pressed)
        self._strained = bool(pressed) or self.keywords.pressure >= 1

    def _forget(self, keys: Sequence[bytes]) -> None:
        """Let go of what is kept in memory of what commits changed."""
        memories = [(key, record) for key in keys if (record := noted_memory(key)) is not None]
        self.known.forget(record for _, record in memories)
        self.standing.note([record for key, record in memories if is_changed_memory(key)])
        if any(key[0] == Kind.VECTOR_SPACE for key in keys):
            self.known_spaces.forget()

    def _messages(self, noted_messages: Iterable[bytes]) -> Iterator[Sequence[KeywordChange]]:
        # Whatever is noted is told: settings are those of now, and what is no longer searched must leave the view.
        for each in noted_messages:
            searchable = self.scopes.of(said.namespace_of(each)).messages
            for span in said.spans(each):
                yield finish(said.changes(span, searchable=searchable), self._engine)

    # -- what is durable -------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Write what has grown to files, merge files, while there is need."""
        while True:
            self._work.wait()
            self._work.clear()
            while not self._ending and self._saving.keep_one():
                pass
            if self._ending:
                return

    def checkpoint(self) -> None:
        """Make everything told durable. On a worker thread."""
        self._saving.checkpoint()

    def compact(self) -> None:
        """Leave no byte of a deleted memory in the files. On a worker thread."""
        self.standing.clear()
        self.keywords.compact()
        self.vectors.compact()

    @property
    def durable_seq(self) -> int:
        """The commit that both views would know after a crash."""
        return min(self.keywords.durable_seq, self.vectors.durable_seq)

    def trim(self) -> list[Write]:
        """Return the rows that drop what the views need not be told again."""
        durable = self.durable_seq
        if durable <= self._trimmed_seq:
            return []
        self._trimmed_seq = durable
        first, end = change_key(0, b""), change_key(durable + 1, b"")
        return [
            (DELETE_RANGE, Family.INDEX, first, end),
            (PUT, Family.META, CHANGES_TRIMMED_KEY, pack_number(durable)),
        ]

    def status(self) -> dict[str, Any]:
        """Return the views' figures."""
        keywords = self.keywords.statistics()._asdict()
        return {
            "waiting": len(self._waiting),
            "told_seq": self._told_seq,
            "durable_seq": self.durable_seq,
            "unsaved_changes": self._saving.unsaved,
            "known": {
                "memories": len(self.known),
                "bytes": self.known.memory_bytes,
                "visible": len(self.known.visible),
                "visible_bytes": self.known.visible.memory_bytes,
                "hits": self.known.hits,
                "misses": self.known.misses,
                "filters": len(self.standing),
                "filter_bytes": self.standing.memory_bytes,
            },
            "erasing": structs.asdict(self.erasing.state),
            "keywords": keywords,
            "vectors": self.vectors.statistics(),
        }

    # -- coming up -------------------------------------------------------------------------------------------------

    def come_up(self, trimmed: int) -> None:
        """Learn the spaces, make anew what is lost, and tell what is not durable yet.

        trimmed: up to this commit there are no change rows any more.
        """
        applied = self._engine.applied_seq
        outdated = self.vectors.durable_seq < trimmed
        if outdated:
            self.vectors.apply(applied, [Drop(*space) for space in self.vectors.spaces()])
        changed = list(self._changes(self.durable_seq + 1))
        for scope in self.scopes.searchable():
            changed += newer_messages(self._engine, scope, self.keywords.durable_seq)
        changed.sort()
        for key, row in walk(self._engine, Family.HEADS, bytes((Kind.VECTOR_SPACE,))):
            head = decode_space(row)
            name = key[namespace_end(key) :].decode()
            if head.alias_of or head.incarnation > max(self.vectors.durable_seq, trimmed):
                continue  # no space, or one that its change row makes
            self._spaces[scope_of(key), name] = head.incarnation
            if (scope_of(key), name) not in self.vectors.spaces():
                self.vectors.expect(scope_of(key), name, indexing.spec_of(head), applied)
            self._expect_messages(scope_of(key), name, head)
        for scope, name in self.vectors.spaces():
            # One that was dropped, or dropped and made anew, since the view was durable: its change row drops it.
            self._spaces.setdefault((scope, name), 0)
        lost = {(scope, name) for scope, name, _ in self.vectors.damaged()}
        if outdated:
            lost |= set(self._spaces)
        for scope, name in lost:
            log.warning("the vector space %s is made anew from the records", name)
            vectors = all_vectors(self._engine, scope, name, self._spaces[scope, name])
            self.vectors.rebuild(scope, name, vectors, applied)
        while changed:
            step = _whole_commits(changed)
            self.tell(step)
            del changed[: len(step)]

    def _expect_messages(self, scope: bytes, name: str, head: SpaceHead) -> None:
        """Learn the space of the namespace's messages beside one of its own, where they are searched."""
        if self.scopes.of(scope).messages:
            of_messages = said.scope_of(scope)
            self._spaces[of_messages, name] = head.incarnation
            if (of_messages, name) not in self.vectors.spaces():
                self.vectors.expect(of_messages, name, indexing.spec_of(head), self.vectors.durable_seq)

    def _changes(self, from_seq: int) -> Iterator[tuple[int, bytes]]:
        start = change_key(from_seq, b"")
        for key, _ in walk(self._engine, Family.INDEX, start[:1], start):
            yield split_change_key(key)


def _whole_commits(changed: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return the first changes, up to the end of a commit: views take a commit at once."""
    end = min(_STEP, len(changed))
    while end < len(changed) and changed[end][0] == changed[end - 1][0]:
        end += 1
    return changed[:end]


def _nothing() -> None:
    pass


def _raise(error: BaseException) -> None:
    raise error
