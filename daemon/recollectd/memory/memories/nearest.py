"""Searches for the nearest of one vector and nothing else: those that come together are answered together.

They are what is asked most, and by the thousand. The vector view answers all of a space in one call, in which other
threads run; and of what it finds nothing is read where it is known already: what a memory is and says
(`KnownMemories`), or, for who wants ids alone, that it is there and in sight. Whatever is unusual, unknown or in doubt
is left to the ordinary way (`searches.SearchMemories.read`), which answers the same, and learns what was unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import structs

from recollectd._native.checksum import xxh64
from recollectd.memory import cursors
from recollectd.memory.kind import View
from recollectd.memory.memories.fetching import Found, told, told_bytes
from recollectd.memory.memories.fusion import LOOKED_AT
from recollectd.memory.memories.searching import KEYWORD, is_plain
from recollectd.memory.memories.views import MemoryViews
from recollectd.protocol import limits, table
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.memories import (
    MEMORIES,
    MemoryRanks,
    MemoryResult,
    MemoryResults,
    MemorySearch,
)
from recollectd.storage.keyspace import namespace_bytes, pack_u64
from recollectd.storage.vectors.errors import SpaceRebuilding, SpaceUnknown
from recollectd.storage.vectors.searching import Hit

_COMPONENT_BYTES: Final = 4

# What one call to the vector view answers: scope, space, limit, effort.
_Group = tuple[bytes, str, int, int]


def is_nearest(request: MemorySearch) -> bool:
    """Tell whether a search asks for the nearest of one vector and nothing else."""
    return (
        not request.explain
        and not request.cursor
        and request.limit < LOOKED_AT  # from there on searches are exact
        and request.vectors is not None
        and len(request.vectors) == 1  # beside a text there may be none
        and request.mode != KEYWORD
        and not request.filter
        and request.as_of is None
        and not request.hidden
        and not request.exact
        and not request.min_score
        and request.among == MEMORIES
        and is_plain(request)
    )


def answer_together(requests: Sequence[MemorySearch], view: View) -> list[bytes | None]:
    """Return the replies to such searches as bytes, None for those that the ordinary way must answer."""
    views = view.memories
    assert views is not None
    views.catch_up()
    replies: list[bytes | None] = [None] * len(requests)
    groups: dict[_Group, list[int]] = {}
    for number, request in enumerate(requests):
        assert request.vectors is not None
        ((name, vector),) = request.vectors.items()
        scope = namespace_bytes(request.namespace)
        told = views.known_spaces.get((scope, name))
        if told is not None and len(vector) == told[1].dimensions * _COMPONENT_BYTES:
            groups.setdefault((scope, told[0], request.limit, request.effort), []).append(number)
    for group, numbers in groups.items():
        if not views.scopes.of(group[0]).accesses:
            asked = [requests[number] for number in numbers]
            for number, request, hits in zip(numbers, asked, _ask(views, group, asked), strict=True):
                tell = _told_records if request.records else _told_ranks
                replies[number] = tell(request, bytes((Kind.MEMORY,)) + group[0], hits, view)
    return replies


def _ask(views: MemoryViews, group: _Group, asked: list[MemorySearch]) -> Sequence[list[Hit]]:
    scope, space, limit, effort = group
    vectors = [vector for request in asked for vector in (request.vectors or {}).values()]
    try:
        # One more than is wanted, as the ordinary way asks for: that decides which rows are scored.
        found = views.vectors.search_many(scope, space, vectors, limit + 1, effort)
    except (SpaceUnknown, SpaceRebuilding):
        found = None
    return found if found is not None else [[]] * len(vectors)


def _told_ranks(request: MemorySearch, prefix: bytes, hits: list[Hit], view: View) -> bytes | None:
    views = view.memories
    assert views is not None
    visible = views.known.visible
    if hits and not visible.all_visible(prefix, hits, view.time):
        views.look_at([prefix + record_id for record_id, _ in hits], view.time)
    # Where one of them is not in sight, the ordinary way looks for more, and may find what is nearer than these.
    if not hits or not visible.all_visible(prefix, hits, view.time):
        return None
    hits = hits[: request.limit]
    return table.encode(MemoryRanks(tuple([record_id.decode() for record_id, _ in hits]), tuple([s for _, s in hits])))


def _told_records(request: MemorySearch, prefix: bytes, hits: list[Hit], view: View) -> bytes | None:
    views = view.memories
    assert views is not None
    found: list[Found] = []
    for record_id, _ in hits:
        each = views.known.get(prefix + record_id)
        # Again: of one that does not count the ordinary way knows what comes in its place.
        if each is None or each.subject.head.hidden or not each.subject.head.alive(view.time):
            return None
        found.append(each)
    shown = found[: request.limit]
    if not shown or sum(told_bytes(told(each)) for each in shown) >= limits.PAGE_BYTES_MAX:
        return None
    views.known.count(len(found), 0)
    results = tuple([MemoryResult(told(each), score) for each, (_, score) in zip(shown, hits, strict=False)])
    more = len(found) > len(shown) and len(shown) < limits.SEARCH_RESULTS_MAX
    return table.encode(MemoryResults(results, cursor_behind(request, view, len(shown)) if more else b""))


def cursor_behind(request: MemorySearch, view: View, count: int) -> bytes:
    """Return what asks for the results of a search behind so many."""
    return cursors.pack(view.store_id, query_digest(request), pack_u64(count))


def query_digest(request: MemorySearch) -> bytes:
    """Return what must be the same in all requests for the pages of one search."""
    return cursors.query_digest("search", xxh64(table.encode(structs.replace(request, cursor=b"", limit=1))))
