"""Requests that search memories."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final

from msgspec import structs

from recollectd._native.checksum import xxh64
from recollectd.memory import cursors
from recollectd.memory.kind import Fetch, Reading, ReadOperation, Rows, View
from recollectd.memory.memories import filters
from recollectd.memory.memories.fetching import Found, found_among, told, told_bytes
from recollectd.memory.memories.fusion import Candidate
from recollectd.memory.memories.heads import thread_key
from recollectd.memory.memories.searching import Search, check_search
from recollectd.protocol import errors, limits, table
from recollectd.protocol.messages import memories as messages
from recollectd.storage.keyspace import Family, namespace_end, pack_u64, path, thread_row_key

_CHARACTERS_PER_TOKEN: Final = 4


class SearchMemories(ReadOperation[messages.MemorySearch]):
    """Searches, and gives one page of the results."""

    __slots__ = ("_query",)

    def __init__(self, request: messages.MemorySearch) -> None:
        super().__init__(request)
        self.keys = None
        check_search(request)
        filters.parse(request.filter)
        unpaged = structs.replace(request, cursor=b"", limit=1)
        self._query = cursors.query_digest("search", xxh64(table.encode(unpaged)))

    def read(self, view: View) -> Reading:
        """Search, skip the pages given before, tell the next one."""
        request = self.request
        place = cursors.unpack(request.cursor, view.store_id, self._query)
        skipped = int.from_bytes(place, "big")
        if skipped >= limits.SEARCH_RESULTS_MAX:
            raise errors.InvalidCursor("points behind the last result", field="cursor")
        end = min(skipped + request.limit, limits.SEARCH_RESULTS_MAX)
        search = Search(request, view)
        ranked = yield from search.run(end)
        results: list[messages.MemoryResult] = []
        size = 0
        for _, candidate in ranked[skipped:end]:
            results.append(_result(candidate, search, explain=request.explain))
            size += told_bytes(results[-1].memory)
            if size >= limits.PAGE_BYTES_MAX:
                break
        behind = skipped + len(results)
        more = results and behind < min(len(ranked), limits.SEARCH_RESULTS_MAX)
        cursor = cursors.pack(view.store_id, self._query, pack_u64(behind)) if more else b""
        return messages.MemoryResults(tuple(results), cursor)


def _result(candidate: Candidate, search: Search, *, explain: bool) -> messages.MemoryResult:
    memory = told(candidate.found)
    if not explain:
        return messages.MemoryResult(memory, candidate.score)
    return messages.MemoryResult(
        memory,
        candidate.score,
        candidate.details(),
        candidate.recency,
        candidate.importance,
        candidate.speaker,
        candidate.neighbours,
        search.highlights(candidate.found),
    )


class AssembleContext(ReadOperation[messages.MemoryContext]):
    """Searches, and puts the best results and what was said beside them into one text within a budget."""

    __slots__ = ()

    def __init__(self, request: messages.MemoryContext) -> None:
        super().__init__(request)
        self.keys = None
        check_search(request.search)
        filters.parse(request.search.filter)

    def read(self, view: View) -> Reading:
        """Take results in order, each with its neighbours, while the budget lasts; tell them in order of time."""
        request = self.request
        search = Search(request.search, view)
        ranked = (yield from search.run(request.search.limit))[: request.search.limit]
        beside = yield from _beside([candidate.found for _, candidate in ranked], request.beside, view)
        chosen: dict[bytes, Found] = {}
        left = request.tokens
        for key, candidate in ranked:
            for found in (candidate.found, *beside.get(key, ())):
                cost = _tokens(_line(found))
                if found.key not in chosen and cost <= left:
                    chosen[found.key] = found
                    left -= cost
        lines = sorted(chosen.values(), key=_order)
        text = "\n".join(map(_line, lines))
        ids = tuple(found.subject.memory_id for found in lines)
        return messages.ContextText(text, ids, request.tokens - left)


def _order(found: Found) -> tuple[int, str, int, bytes]:
    """In the order of time; a conversation's memories in their own order."""
    head, body = found.subject.head, found.subject.body
    return body.valid_at if body.valid_at is not None else head.created_at, head.thread, head.position, found.key


def _line(found: Found) -> str:
    body = found.subject.body
    date = filters.iso_day(body.valid_at if body.valid_at is not None else found.subject.head.created_at)
    return f"[{date}] {body.text}"


def _tokens(line: str) -> int:
    return -(-(len(line) + 1) // _CHARACTERS_PER_TOKEN)


def _beside(results: Sequence[Found], reach: int, view: View) -> Generator[Fetch, Rows, dict[bytes, list[Found]]]:
    """Return what lies beside each result in its conversation, the nearest first; hidden ones are left out."""
    places: list[tuple[bytes, bytes]] = []  # of a result, and of a row that names a neighbour
    for found in results:
        head = found.subject.head
        if head.thread:
            below = path(thread_key(found.key, head.thread))
            for distance in range(1, reach + 1):
                places += [
                    (found.key, thread_row_key(below, position))
                    for position in (head.position - distance, head.position + distance)
                    if position >= 0
                ]
    rows = yield Fetch(Family.INDEX, [row for _, row in places])
    named = [
        (key, key[: namespace_end(key)] + row) for (key, _), row in zip(places, rows, strict=True) if row is not None
    ]
    wanted = list(dict.fromkeys(key for _, key in named))
    known: dict[bytes, Found] = {}
    at = 0
    while at < len(wanted):
        step = yield from found_among(wanted[at:], view)
        known.update({each.key: each for each in step if each is not None and not each.subject.head.hidden})
        at += len(step)
    neighbours: dict[bytes, list[Found]] = {}
    for key, other in named:
        if other in known:
            neighbours.setdefault(key, []).append(known[other])
    return neighbours
