"""Searches for the nearest of one vector and nothing else: those that come together are answered together.

They are what is asked most, and by the thousand. The vector view answers all of a space in one call, in which other
threads run; and of what it finds nothing is read where it is known already: what a memory is (`KnownMemories`), or, for
who wants ids alone, that it is there and in sight. Whatever is unusual, unknown or in doubt is left to the ordinary
way (`searches.SearchMemories.read`), which answers the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from recollectd.memory.kind import View
from recollectd.memory.memories.searching import KEYWORD, is_plain
from recollectd.memory.memories.views import MemoryViews
from recollectd.protocol import table
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.memories import MEMORIES, MemoryRanks, MemorySearch
from recollectd.storage.keyspace import namespace_bytes
from recollectd.storage.vectors.errors import SpaceRebuilding, SpaceUnknown
from recollectd.storage.vectors.searching import Hit

_COMPONENT_BYTES: Final = 4

# What one call to the vector view answers: scope, space, limit, effort.
_Group = tuple[bytes, str, int, int]


def is_nearest(request: MemorySearch) -> bool:
    """Tell whether a search asks for the nearest of one vector and nothing else."""
    return (
        not request.records
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


def rank_together(requests: Sequence[MemorySearch], view: View) -> list[bytes | None]:
    """Return the replies to such searches as bytes, None for those that the ordinary way must answer."""
    views = view.memories
    assert views is not None
    views.catch_up()
    replies: list[bytes | None] = [None] * len(requests)
    groups: dict[_Group, list[tuple[int, bytes]]] = {}
    for number, request in enumerate(requests):
        assert request.vectors is not None
        ((name, vector),) = request.vectors.items()
        scope = namespace_bytes(request.namespace)
        told = views.known_spaces.get((scope, name))
        if told is not None and len(vector) == told[1].dimensions * _COMPONENT_BYTES:
            groups.setdefault((scope, told[0], request.limit, request.effort), []).append((number, vector))
    for group, asked in groups.items():
        if not views.scopes.of(group[0]).accesses:
            for (number, _), hits in zip(asked, _ask(views, group, [vector for _, vector in asked]), strict=True):
                replies[number] = _told(views, group, hits, view.time)
    return replies


def _ask(views: MemoryViews, group: _Group, vectors: list[bytes]) -> Sequence[list[Hit]]:
    scope, space, limit, effort = group
    try:
        # One more than is wanted, as the ordinary way asks for: that decides which rows are scored.
        found = views.vectors.search_many(scope, space, vectors, limit + 1, effort)
    except (SpaceUnknown, SpaceRebuilding):
        found = None
    return found if found is not None else [[]] * len(vectors)


def _told(views: MemoryViews, group: _Group, hits: list[Hit], time: int) -> bytes | None:
    scope, _, limit, _ = group
    prefix = bytes((Kind.MEMORY,)) + scope
    if hits and not views.known.visible.all_visible(prefix, hits, time):
        views.look_at([prefix + record_id for record_id, _ in hits], time)
    # Where one of them is not in sight, the ordinary way looks for more, and may find what is nearer than these.
    if not hits or not views.known.visible.all_visible(prefix, hits, time):
        return None
    hits = hits[:limit]
    return table.encode(MemoryRanks(tuple([record_id.decode() for record_id, _ in hits]), tuple([s for _, s in hits])))
