"""Moving a namespace into another vector space: the texts of its memories, and of its conversations' messages where
those are searched, are embedded anew. No I/O.

What is left to do is what has no vector there, so this may be interrupted anywhere and begun again, by several at once
too. Passes over what changed meanwhile follow until nothing is left; then the name that searches use is switched, in a
commit that is only carried out if no memory, and no message that is searched, has changed since the last look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias, TypeVar

from recollectd.client.calls import Steps
from recollectd.client.embedding import Embedding, embedding_steps
from recollectd.client.vectors import packed_vector
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import memories, search_settings, vector_spaces
from recollectd.protocol.messages.connection import Counted

T = TypeVar("T")

Progress: TypeAlias = Callable[[int, int], object]
"""Told how many memories and messages were embedded, and of how many."""

_PAGE_MEMORIES: Final = 4 * limits.EMBEDDED_MAX
_PASSES_MAX: Final = 1_000


def count_lacking(namespace: tuple[str, ...], space: str) -> Steps[int]:
    """Count the memories, and the messages where they are searched, that have no vector in a space."""
    count, cursor = 0, b""
    while True:
        counted: Counted = yield memories.MemoryCount(namespace, hidden=True, cursor=cursor, lacking=space)
        count, cursor = count + counted.count, counted.cursor
        if not cursor:
            break
    if not (yield from _searches_messages(namespace)):
        return count
    while True:
        page: vector_spaces.LackingMessages = yield vector_spaces.SpaceLacking(
            namespace, space, cursor=cursor, counted=True
        )
        count, cursor = count + page.count, page.cursor
        if not cursor:
            return count


def _searches_messages(namespace: tuple[str, ...]) -> Steps[bool]:
    """Return whether the messages of a namespace are searched now."""
    reply: search_settings.SearchSettings = yield search_settings.SearchSettingsGet(namespace)
    return reply.messages


class Reembedding:
    """One move: of a namespace, into a space. apart: texts are embedded by who carries out the steps."""

    def __init__(
        self, namespace: tuple[str, ...], space: str, embedding: Embedding, progress: Progress | None, *, apart: bool
    ) -> None:
        self._namespace = namespace
        self._space = space
        self._embedding = embedding
        self._progress = progress
        self._apart = apart
        self._done = self._total = 0

    def steps(self, alias: str | None) -> Steps[int]:
        """Embed what has no vector in the space, then switch the alias; the result is how many were embedded."""
        self._total = yield from count_lacking(self._namespace, self._space)
        self._report()
        since = 0
        for _ in range(_PASSES_MAX):
            before = self._done
            since, looked_at = yield from self._pass(since)
            if looked_at:
                continue
            if alias is None:
                return self._done
            request = vector_spaces.SpaceSwitch(self._namespace, alias, self._space, since, messages=True)
            reply: vector_spaces.Switched = yield request
            if reply.switched:
                return self._done
            assert before == self._done
        raise errors.TransactionConflict(f"texts change faster than {alias!r} can be switched; try again later")

    def _pass(self, since: int) -> Steps[tuple[int, int]]:
        """Embed what lacks a vector and changed behind a position; return the one it began at, and how many it saw."""
        position, looked_at = yield from self._pass_memories(since)
        if (yield from _searches_messages(self._namespace)):
            # As of the same position: messages are looked at later, so none that came in between is missed.
            looked_at += yield from self._pass_messages(since)
        return position, looked_at

    def _pass_memories(self, since: int) -> Steps[tuple[int, int]]:
        position, cursor, looked_at = 0, b"", 0
        while True:
            page: memories.MemoryPage = yield memories.MemoryList(
                self._namespace,
                hidden=True,
                limit=_PAGE_MEMORIES,
                cursor=cursor,
                lacking=self._space,
                changed_since=since,
            )
            position = position or page.position
            looked_at += len(page.memories)
            for found in _chunks(page.memories):
                yield from self._embed(found)
            cursor = page.cursor
            if not cursor:
                return position, looked_at

    def _pass_messages(self, since: int) -> Steps[int]:
        cursor, looked_at = b"", 0
        while True:
            page: vector_spaces.LackingMessages = yield vector_spaces.SpaceLacking(
                self._namespace, self._space, limit=_PAGE_MEMORIES, cursor=cursor, changed_since=since
            )
            looked_at += len(page.messages)
            for found in _chunks(page.messages):
                yield from self._embed_messages(found)
            cursor = page.cursor
            if not cursor:
                return looked_at

    def _embed_messages(self, found: Sequence[vector_spaces.LackingMessage]) -> Steps[None]:
        made = yield from embedding_steps(self._embedding, [each.content for each in found], apart=self._apart)
        vectors = tuple(
            vector_spaces.MessageVector(
                each.conversation_id, each.incarnation, each.position, packed_vector(vector, "embedder")
            )
            for each, vector in zip(found, made, strict=True)
        )
        reply: vector_spaces.Embedded = yield vector_spaces.SpaceEmbedMessages(self._namespace, self._space, vectors)
        self._done += sum(reply.embedded)
        self._report()

    def _embed(self, found: Sequence[memories.Memory]) -> Steps[None]:
        made = yield from embedding_steps(self._embedding, [each.text for each in found], apart=self._apart)
        vectors = tuple(
            vector_spaces.MemoryVector(each.memory_id, each.version, packed_vector(vector, "embedder"))
            for each, vector in zip(found, made, strict=True)
        )
        reply: vector_spaces.Embedded = yield vector_spaces.SpaceEmbed(self._namespace, self._space, vectors)
        self._done += sum(reply.embedded)
        self._report()

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self._done, max(self._done, self._total))


def _chunks(found: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(found), limits.EMBEDDED_MAX):
        yield found[start : start + limits.EMBEDDED_MAX]
