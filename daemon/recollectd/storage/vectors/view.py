"""The vector view: follows the journal, and answers which records are nearest.

Threads: `apply` belongs to one thread and never waits for a disk or a merge. `search` may be called by any number of
worker threads at once; it waits for nobody, and lets others run but for some microseconds at its begin and end.
`checkpoint`, `compact` and `rebuild` are for worker threads: they write and sync. Merges run in processes of their own,
watched by a thread of the view's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from recollectd.storage.vectors.builders import Builder, ProcessBuilder
from recollectd.storage.vectors.changes import Change, Create, Drop, Put
from recollectd.storage.vectors.durability import Durability
from recollectd.storage.vectors.errors import SpaceUnknown
from recollectd.storage.vectors.keeper import Keeper
from recollectd.storage.vectors.manifest import SpaceEntry
from recollectd.storage.vectors.merging import (
    Plan,
    forget_parked,
    has_remains,
    is_due,
    is_left,
    merge,
    plan,
    plan_whole,
)
from recollectd.storage.vectors.options import VectorOptions
from recollectd.storage.vectors.pressure import MergeClock, Pressure
from recollectd.storage.vectors.recall import RecallMonitor
from recollectd.storage.vectors.searching import Hit, Query, Standing, search
from recollectd.storage.vectors.selection import Selection
from recollectd.storage.vectors.space import Space
from recollectd.storage.vectors.spec import Spec, Vector, as_floats
from recollectd.storage.vectors.statistics import view_statistics

REBUILD_ROWS: Final = 1024
# Deltas of all spaces together are merged, the largest first, from this part of what they may take.
CROWDED_SHARE: Final = 0.5

Key = tuple[bytes, str]


class VectorView:
    """Opens the folder, or makes it. Closed by `close`.

    builder: what builds segments (default: a process each). keeper: whether merges begin by themselves, or not before
    `keep` is called; without it, `maintain` does one thing that is due.
    """

    def __init__(
        self,
        folder: Path,
        options: VectorOptions | None = None,
        *,
        builder: Builder | None = None,
        keeper: bool = True,
    ) -> None:
        self.options = options or VectorOptions()
        self._builder = builder or ProcessBuilder()
        self._durability = Durability(folder, self.options)
        self._spaces: dict[Key, Space] = {}
        for space in self._durability.open_spaces():
            self._spaces[space.scope, space.name] = space
        self._loaded_seq = self.applied_seq = self._durability.manifest.seq
        self._merging = threading.Lock()
        self._clock = MergeClock()
        self._recall = RecallMonitor(self.options.recall_interval)
        self._passed_over = 0
        self._weighing = threading.Lock()
        self._delta_bytes = sum(self._weigh(space) for space in self._all())
        self._keeper: Keeper | None = None
        if keeper:
            self.keep()

    def keep(self) -> None:
        """Let merges begin by themselves from here on.

        Not before the view knows what it knew before a crash: a merge that was cut off then goes on, not another one.
        """
        self._keeper = Keeper(self.maintain, self._builder.stop)
        self._wake()

    # -- where it stands --------------------------------------------------------------------------------------------

    @property
    def durable_seq(self) -> int:
        """After a crash, changes from the commit after this one must be applied again."""
        return self._durability.manifest.seq

    @property
    def lost(self) -> str:
        """Why nothing was known of any space when the view was opened, or empty: `expect` and `rebuild` them all."""
        return self._durability.lost

    def damaged(self) -> list[tuple[bytes, str, str]]:
        """Return scope, space and reason of spaces that answer nothing until `rebuild`."""
        return [(space.scope, space.name, space.damaged) for space in self._all() if space.damaged]

    def spaces(self, scope: bytes | None = None) -> dict[Key, Spec]:
        """Return the spaces of a scope, or all."""
        return {key: space.spec for key, space in list(self._spaces.items()) if scope is None or key[0] == scope}

    def count(self, scope: bytes, space: str) -> int:
        """Return how many records have a vector there. Raises SpaceUnknown, SpaceRebuilding."""
        return self._space(scope, space).readable().live

    # -- changes ----------------------------------------------------------------------------------------------------

    def apply(self, seq: int, changes: Iterable[Change]) -> None:
        """Take the changes of one commit, which all become visible at once, space by space.

        Seqs rise; what the view knows already is passed over. Changes to a space there is none of are passed over and
        counted: after a crash the journal may tell of a space that is gone since.
        """
        grouped: dict[Key, dict[bytes, Vector | None]] = {}
        for change in changes:
            key = (change.scope, change.space)
            if isinstance(change, Create | Drop):
                self._change(seq, grouped)
                grouped = {}
                self._create(seq, change) if isinstance(change, Create) else self._drop(seq, change)
            else:
                grouped.setdefault(key, {})[change.record_id] = change.vector if isinstance(change, Put) else None
        self._change(seq, grouped)
        self.applied_seq = max(self.applied_seq, seq)

    def _change(self, seq: int, grouped: Mapping[Key, Mapping[bytes, Vector | None]]) -> None:
        for key, latest in grouped.items():
            space = self._spaces.get(key)
            if space is None:
                self._passed_over += len(latest)
                continue
            space.change(seq, latest)
            self._account(space)
            if is_due(space, self.options):
                self._wake()

    def _create(self, seq: int, change: Create) -> None:
        key = (change.scope, change.space)
        if key not in self._spaces:
            number = self._durability.take_number()
            entry = SpaceEntry(number, *key, change.spec, created_seq=seq, covered_seq=seq - 1)
            self._spaces[key] = Space(entry, (), seq, self.options)

    def _drop(self, seq: int, change: Drop) -> None:
        space = self._spaces.get((change.scope, change.space))
        # After a crash the journal tells again of what was dropped before this space was created.
        if space is not None and (seq > space.created_seq or space.created_seq > self._loaded_seq):
            space.dropped = True
            del self._spaces[change.scope, change.space]
            with self._weighing:
                self._delta_bytes -= space.weighed_bytes
                space.weighed_bytes = 0

    def pressure(self, scope: bytes, space: str, rows: int = 1) -> Pressure | None:
        """Return why a space should be given no more rows now, or None. Asked before they are journaled."""
        found = self._spaces.get((scope, space))
        waiting = found.delta_rows if found is not None else 0
        if waiting and waiting + rows > self.options.delta_rows_max:
            return Pressure(f"{waiting} vectors wait to be indexed", self._clock.retry_after_ms())
        if self._delta_bytes > self.options.delta_bytes_max:
            return Pressure("vectors that wait to be indexed fill their memory", self._clock.retry_after_ms())
        return None

    # -- searches ---------------------------------------------------------------------------------------------------

    def search(
        self,
        scope: bytes,
        space: str,
        vector: Vector | Sequence[float],
        limit: int,
        allowed: Iterable[bytes] | Selection | None = None,
        exact: bool = False,
        effort: int = 0,
    ) -> list[Hit]:
        """Return up to limit of (record id, similarity), nearest first, equals by id.

        vector: as `check_vector` returns it. allowed: the only record ids that count; a Selection is looked up once for
        several searches. exact: nothing may be missed. effort: how far graphs are searched, 0: as far as the space
        needs. Raises SpaceUnknown, SpaceRebuilding.
        """
        assert limit > 0, limit
        found_space = self._space(scope, space)
        located = None
        if allowed is not None:
            located = (allowed if isinstance(allowed, Selection) else Selection(allowed)).locate(found_space)
        snapshot = located.snapshot if located is not None else found_space.readable()
        query = Query(found_space.spec, as_floats(vector), self.options, effort or found_space.effort.now)
        found = search(query, snapshot, limit, located=located, exact=exact)
        if not effort and self._recall.count(query, snapshot, limit, located, found, found_space.effort):
            self._wake()
        return found.hits

    def search_many(
        self, scope: bytes, space: str, vectors: Sequence[Vector], limit: int, effort: int = 0
    ) -> list[list[Hit]] | None:
        """Return what `search` would for each of several vectors, or None where searches do not go by graphs.

        Other threads run while all are answered one after the other.
        """
        found_space = self._space(scope, space)
        snapshot = found_space.readable()
        if not Standing.possible(snapshot, self.options):
            return None
        used = effort or found_space.effort.now
        standing = found_space.standing
        if standing is None or not standing.fits(snapshot, limit, used):
            standing = found_space.standing = Standing(found_space.spec, snapshot, limit, self.options, used)
            if found_space.snapshot is not snapshot:
                found_space.standing = None  # it would keep files that a merge has just removed
        floats = [as_floats(vector) for vector in vectors]
        answers = standing.search(floats)
        for each, found in zip(floats if not effort else (), answers, strict=False):
            query = Query(found_space.spec, each, self.options, used)
            if self._recall.count(query, snapshot, limit, None, found, found_space.effort):
                self._wake()
        return [found.hits for found in answers]

    # -- durability -------------------------------------------------------------------------------------------------

    def checkpoint(self) -> int:
        """Make everything applied before this call durable and return its seq."""
        with self._durability.lock:  # a later call never makes less durable than an earlier one
            seq = self.applied_seq
            self._durability.checkpoint(self._all(), seq)
        return seq

    def compact(self, scope: bytes | None = None) -> None:
        """Remove what died from all files: spaces of a scope, or all, are merged anew, and all deltas written anew.

        Afterwards no file of the view holds bytes of a vector that was deleted or replaced before the call.
        """
        with self._merging:
            for space in self._all():
                if scope in (None, space.scope) and has_remains(space):
                    self._merge(space, plan_whole(space))
                if scope in (None, space.scope):
                    forget_parked(space, self._durability)
            with self._durability.lock:
                self._durability.checkpoint(self._all(), self.applied_seq, whole=True)

    def expect(self, scope: bytes, space: str, spec: Spec, seq: int) -> None:
        """Tell of a space that the records know and a lost manifest did not; `rebuild` fills it."""
        self.apply(seq, [Create(scope, space, spec)])
        self._spaces[scope, space].damaged = "lost"

    def rebuild(
        self, scope: bytes, space: str, vectors: Iterable[tuple[bytes, Vector]], seq: int | None = None
    ) -> None:
        """Fill a space anew from (record id, vector) of all its records as of seq (default: applied) or later.

        Changes after seq may be applied meanwhile. The space answers when the call returns; until the checkpoint after
        it, a crash makes the rebuild necessary again. Waits when too much is not yet merged.
        """
        found = self._space(scope, space)
        with self._durability.lock:
            found.begin_rebuild(self._durability.take_number(), self.applied_seq if seq is None else seq)
        rows = iter(vectors)
        while batch := dict(islice(rows, min(REBUILD_ROWS, self.options.delta_rows_max))):
            while self.pressure(scope, space, len(batch)) is not None:
                with self._merging:
                    largest = max(self._all(), key=lambda each: each.delta_bytes)
                    self._merge(largest, plan(largest, self._durability))
            found.bring(batch)
            self._account(found)
            self._wake()
        found.end_rebuild()

    def maintain(self, quiet: bool = False) -> bool:
        """Do one thing that is due; False when nothing is. What goes wrong is raised and changes nothing.

        quiet: what did not change since it was called like this before is merged though it is small.
        """
        with self._merging:
            due = next((space for space in self._all() if is_due(space, self.options)), None)
            if due is None and quiet:
                due = next((space for space in self._all() if is_left(space, self.options)), None)
            if due is None and self._delta_bytes > self.options.delta_bytes_max * CROWDED_SHARE:
                due = max(self._all(), key=lambda space: space.delta_bytes)
            if due is not None:
                self._merge(due, plan(due, self._durability))
                return True
        return self._recall.check()

    def merge(self, scope: bytes, space: str) -> None:
        """Merge a space's delta now, due or not."""
        with self._merging:
            found = self._space(scope, space)
            self._merge(found, plan(found, self._durability))

    def close(self) -> None:
        """End what is under way, and make nothing durable: that is `checkpoint`'s."""
        if self._keeper is not None:
            self._keeper.close()
        else:
            self._builder.stop()

    def statistics(self) -> dict[str, int | float | None]:
        """Return counts and sizes by name; bytes where the name says so."""
        failures = self._keeper.failures if self._keeper is not None else 0
        figures = view_statistics(self._all(), self._clock, self._recall, self.options)
        dumps = self._durability.manifest.dumps
        return {
            **figures,
            "dump_files": len(dumps),
            "dump_bytes": sum(dump.mark.length for dump in dumps),
            "durable_seq": self.durable_seq,
            "failed_merges": failures,
            "passed_over_changes": self._passed_over,
        }

    # -- inside -----------------------------------------------------------------------------------------------------

    def _all(self) -> list[Space]:
        return list(self._spaces.values())

    def _space(self, scope: bytes, space: str) -> Space:
        try:
            return self._spaces[scope, space]
        except KeyError:
            raise SpaceUnknown(f"there is no space {space}") from None

    def _account(self, space: Space) -> None:
        """Bring up to date what a space's delta counts for: adding up all spaces would cost more than a change."""
        with self._weighing:
            self._delta_bytes += self._weigh(space)

    @staticmethod
    def _weigh(space: Space) -> int:
        """Return how much more a space's delta weighs than when it was weighed last."""
        before, space.weighed_bytes = space.weighed_bytes, 0 if space.dropped else space.delta_bytes
        return space.weighed_bytes - before

    def _wake(self) -> None:
        if self._keeper is not None:
            self._keeper.wake()

    def _merge(self, space: Space, how: Plan) -> None:
        self._clock.begin()
        try:
            saved = merge(space, how, self.applied_seq, self._durability, self._builder, self._clock.progress)
        finally:
            self._account(space)
        self._clock.end(saved)
