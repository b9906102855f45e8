"""Requests that search memories."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final

from recollectd.memory import cursors
from recollectd.memory.kind import Fetch, Reading, ReadOperation, Rows, View
from recollectd.memory.memories import filters, said
from recollectd.memory.memories.accesses import note_found
from recollectd.memory.memories.among import SearchAmong, check_among
from recollectd.memory.memories.fetching import Found, found_among, told, told_bytes
from recollectd.memory.memories.fusion import Candidate
from recollectd.memory.memories.heads import thread_key
from recollectd.memory.memories.nearest import answer_together, cursor_behind, is_nearest, query_digest
from recollectd.memory.memories.searching import check_search, counts
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import memories as messages
from recollectd.storage.keyspace import Family, namespace_end, path, thread_row_key

_CHARACTERS_PER_TOKEN: Final = 4


class SearchMemories(ReadOperation[messages.MemorySearch]):
    """Searches, and gives one page of the results."""

    __slots__ = ()

    def __init__(self, request: messages.MemorySearch) -> None:
        super().__init__(request)
        self.keys = None
        check_search(request)
        check_among(request)
        filters.parse(request.filter)

    @property
    def joins(self) -> bool:
        """Whether it asks for the nearest of one vector and nothing else."""
        return is_nearest(self.request)

    @staticmethod
    def read_together(operations: Sequence[SearchMemories], view: View) -> list[bytes | None]:
        """Answer several at once, as far as that is possible."""
        return answer_together([operation.request for operation in operations], view)

    def read(self, view: View) -> Reading:
        """Search; tell the ranks, or one page of results, having skipped the pages given before."""
        request = self.request
        if not request.records:
            ranked = (yield from SearchAmong(request, view).run(request.limit))[: request.limit]
            note_found(view, (candidate.found for _, candidate in ranked))
            ids = tuple(candidate.found.subject.memory_id for _, candidate in ranked)
            return messages.MemoryRanks(ids, tuple(candidate.score for _, candidate in ranked))
        return (yield from self._page(view))

    def _page(self, view: View) -> Reading:
        request = self.request
        place = cursors.unpack(request.cursor, view.store_id, query_digest(request))
        skipped = int.from_bytes(place, "big")
        if skipped >= limits.SEARCH_RESULTS_MAX:
            raise errors.InvalidCursor("points behind the last result", field="cursor")
        end = min(skipped + request.limit, limits.SEARCH_RESULTS_MAX)
        search = SearchAmong(request, view)
        ranked = yield from search.run(end)
        results: list[messages.MemoryResult] = []
        size = 0
        for _, candidate in ranked[skipped:end]:
            results.append(_result(candidate, search, explain=request.explain))
            size += told_bytes(results[-1].memory)
            if size >= limits.PAGE_BYTES_MAX:
                break
        note_found(view, (candidate.found for _, candidate in ranked[skipped : skipped + len(results)]))
        behind = skipped + len(results)
        more = results and behind < min(len(ranked), limits.SEARCH_RESULTS_MAX)
        return messages.MemoryResults(tuple(results), cursor_behind(request, view, behind) if more else b"")


def _result(candidate: Candidate, search: SearchAmong, *, explain: bool) -> messages.MemoryResult:
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
        candidate.access,
        candidate.turn,
    )


class AssembleContext(ReadOperation[messages.MemoryContext]):
    """Searches, and puts the best results and what was said beside them into one text within a budget."""

    __slots__ = ()

    def __init__(self, request: messages.MemoryContext) -> None:
        super().__init__(request)
        self.keys = None
        check_search(request.search)
        check_among(request.search)
        filters.parse(request.search.filter)

    def read(self, view: View) -> Reading:
        """Take results in order, each with its neighbours, while the budget lasts; tell them in order of time."""
        request = self.request
        search = SearchAmong(request.search, view)
        ranked = (yield from search.run(request.search.limit))[: request.search.limit]
        beside = yield from _beside([candidate.found for _, candidate in ranked], request.beside, view)
        predicate = filters.parse(request.search.filter)
        chosen: dict[bytes, Found] = {}
        left = request.tokens
        for key, candidate in ranked:
            near = (each for each in beside.get(key, ()) if counts(request.search, predicate, each))
            for found in (candidate.found, *near):
                cost = _tokens(_line(found))
                if found.key not in chosen and cost <= left:
                    chosen[found.key] = found
                    left -= cost
        note_found(view, chosen.values())
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
    """Return what lies beside each result in its conversation, the nearest first."""
    places: list[tuple[bytes, bytes]] = []  # of a result, and of a row that names a neighbour
    for found in results:
        head = found.subject.head
        if head.thread and not said.is_message(found.key):
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
        known.update({each.key: each for each in step if each is not None})
        at += len(step)
    neighbours = yield from said.beside((found for found in results if said.is_message(found.key)), reach)
    for key, other in named:
        if other in known:
            neighbours.setdefault(key, []).append(known[other])
    return neighbours
