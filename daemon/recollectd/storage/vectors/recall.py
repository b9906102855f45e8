"""Whether approximate searches find what they should: some are asked again exactly, while nobody waits.

What comes of it is told, and decides how far the space is searched from then on (effort.py).
"""

from __future__ import annotations

import random
import threading
from typing import Final, NamedTuple

from recollectd.storage.vectors.effort import LADDER, Effort
from recollectd.storage.vectors.searching import Found, Query, search
from recollectd.storage.vectors.selection import Located
from recollectd.storage.vectors.space import Snapshot

# In spaces with more rows samples are taken that much more seldom.
INTERVAL_ROWS: Final = 10_000


class _Sample(NamedTuple):
    query: Query
    snapshot: Snapshot
    limit: int
    located: Located | None
    found: Found
    effort: Effort
    generation: int


class RecallMonitor:
    """interval: of how many approximate searches one is kept to be asked again; 0: none.

    Which one is chance: searches that come over and over in one order would else always be the same few.
    """

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._pending: _Sample | None = None
        self.searches = 0
        self.approximate = 0
        self.sampled = 0
        self._wanted = 0
        self._matched = 0
        self._chance = random.Random()

    @property
    def recall(self) -> float | None:
        """The share of the true nearest records that sampled searches found, or None before the first sample."""
        return self._matched / self._wanted if self._wanted else None

    def count(
        self, query: Query, snapshot: Snapshot, limit: int, located: Located | None, found: Found, effort: Effort
    ) -> bool:
        """Count a search; True when it is kept to be asked again. One waits at a time: it keeps files mapped."""
        with self._lock:
            self.searches += 1
            if found.exact:
                return False
            self.approximate += 1
            # Asking exactly costs as the rows are many: what it adds to a search shall not.
            interval = self._interval * max(1, snapshot.live // INTERVAL_ROWS) // effort.haste
            if not self._interval or self._pending is not None or self._chance.random() * interval >= 1:
                return False
            self._pending = _Sample(query, snapshot, limit, located, found, effort, effort.generation)
            return True

    def check(self) -> bool:
        """Ask the waiting sample again, exactly; False when there is none."""
        with self._lock:
            sample, self._pending = self._pending, None
        if sample is None:
            return False
        truth = search(sample.query, sample.snapshot, sample.limit, located=sample.located, exact=True).hits
        found = {record_id for record_id, _ in sample.found.hits}
        with self._lock:
            self.sampled += 1
            self._wanted += len(truth)
            self._matched += sum(record_id in found for record_id, _ in truth)
        # What a filter leaves is no measure for the others.
        if truth and sample.located is None and sample.effort.learns:
            sample.effort.learn(_shares(sample, {record_id for record_id, _ in truth}), sample.generation)
        return True


def _shares(sample: _Sample, truth: set[bytes]) -> list[float]:
    """Return which share of the truth each effort finds; none is asked beyond the one that finds it all."""
    shares: list[float] = []
    for effort in LADDER:
        if shares and shares[-1] == 1.0:
            shares.append(1.0)
            continue
        query = sample.query.with_effort(effort)
        hits = search(query, sample.snapshot, sample.limit, located=None, exact=False).hits
        shares.append(sum(record_id in truth for record_id, _ in hits) / len(truth))
    return shares
