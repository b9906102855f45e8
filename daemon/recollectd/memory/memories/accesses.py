"""How often memories are found: counted where a namespace's settings say so, and a factor of scores on request.

Reads write nothing: whoever is found is noted, and once in an interval (`server.touch_interval_ms`) an event counts it.
So what is found several times within one counts once, and a crash forgets one interval at most.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from recollectd.memory.kind import View
from recollectd.memory.memories.fetching import Found
from recollectd.protocol import limits
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.memories import MemorySearch
from recollectd.storage.keyspace import namespace_end

if TYPE_CHECKING:
    from recollectd.memory.memories.fusion import Candidate


def note_found(view: View, found: Iterable[Found | None]) -> None:
    """Note that memories were found, if their namespace counts that."""
    for each in found:
        if each is None or each.key[0] != Kind.MEMORY or view.memories is None:
            continue
        if not view.memories.scopes.of(each.key[1 : namespace_end(each.key)]).accesses:
            return  # all are of one namespace
        view.touched(each.key, limits.TIME_US_MAX)


def weigh_accesses(candidates: Collection[Candidate], request: MemorySearch, now: int) -> None:
    """Let what was found more often, and lately, count more: on a logarithmic scale whose end is the most of them."""
    most = math.log1p(max((each.found.subject.head.access_count for each in candidates), default=0))
    for candidate in candidates:
        head = candidate.found.subject.head
        share = math.log1p(head.access_count) / most if most else 1.0
        if request.access_half_life_us and head.last_accessed:
            share *= 0.5 ** (max(0, now - head.last_accessed) / request.access_half_life_us)
        candidate.access = 1 - request.access_weight + request.access_weight * share
        candidate.score *= candidate.access
