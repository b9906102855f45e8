"""One space in memory: its segments, its deltas, and the moments at which readers see them.

Whoever changes a space holds its lock: apply for each commit, a merge for the two moments when it freezes the delta
and when it puts a segment in its place. Readers hold nothing: they take the snapshot, which is replaced as a whole
after every change, and see rows born by it that had not died by its seq. So a record that is replaced is always found
once, in its old place or its new one.

`version` is odd while a change is under way: who resolves record ids to rows reads it before and after.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from recollectd.storage.vectors.delta import Delta, DeltaRows
from recollectd.storage.vectors.dumps import Puts
from recollectd.storage.vectors.effort import Effort
from recollectd.storage.vectors.errors import SpaceRebuilding
from recollectd.storage.vectors.manifest import SpaceEntry
from recollectd.storage.vectors.options import VectorOptions
from recollectd.storage.vectors.segment import Segment
from recollectd.storage.vectors.spec import Spec, Vector, stack

if TYPE_CHECKING:
    from recollectd.storage.vectors.searching import Standing

# When so much of the graphs' rows has died, what is known of their recall is of others.
DEATHS_SHARE: Final = 0.05

_FIRST: Final = itemgetter(0)


class Snapshot(NamedTuple):
    """What a reader sees: everything up to seq. live: records with a vector."""

    seq: int
    segments: tuple[Segment, ...]
    deltas: tuple[DeltaRows, ...]
    live: int


class Frozen(NamedTuple):
    """What a merge takes: the segments it replaces, the rest it leaves, the delta that waits, all as of seq.

    covered_seq: up to which the space needs no dump when the merge is done.
    """

    seq: int
    covered_seq: int
    segments: tuple[Segment, ...]
    kept: tuple[Segment, ...]
    delta: Delta


class Space:
    """See the module. entry: as it is in the manifest, or would be; segments: opened."""

    def __init__(self, entry: SpaceEntry, segments: Sequence[Segment], seq: int, options: VectorOptions) -> None:
        self.number = entry.number
        self.scope = entry.scope
        self.name = entry.name
        self.spec: Spec = entry.spec
        self.created_seq = entry.created_seq
        self.covered_seq = entry.covered_seq
        self.segments = tuple(segments)
        self.damaged = entry.damaged
        self.dropped = False
        self.weighed_bytes = 0
        self.lock = threading.Lock()
        self.version = 0
        self.changed_seq = 0
        self.asked_seq = -1
        self.dumped_seq = 0
        self.rebuilt_seq = 0
        self.rebuild_saved = True
        self.deleted: list[tuple[int, bytes]] = []
        self._delta_rows_max = options.delta_rows_max
        self.active = Delta(self.spec, options.delta_rows_max)
        self.effort = Effort((options.recall and entry.effort) or options.expansion_search, options.recall)
        self.frozen: Delta | None = None
        self._dead_known = sum(segment.dead for segment in segments)
        # Records that died in what a merge takes, since it took it, and when.
        self._died_since: dict[bytes, int] | None = None
        # Records that changed since a rebuild began: what it brings of them is old.
        self._since_rebuild: set[bytes] | None = None
        self.live = sum(segment.live for segment in segments)
        # What the latest searches shared: of the snapshot, and gone with it.
        self.standing: Standing | None = None
        self._publish(seq)

    # -- changes ----------------------------------------------------------------------------------------------------

    def change(self, seq: int, latest: Mapping[bytes, Vector | None]) -> None:
        """Take all changes of one commit: for each record its vector, or None when it has none any more."""
        assert b"" not in latest
        with self.lock:
            if self._ignores(seq):
                return
            if self._since_rebuild is not None:
                self._since_rebuild.update(latest)
            self.version += 1
            self.changed_seq = seq
            self._delete(seq, [record_id for record_id, vector in latest.items() if vector is None])
            self._put(seq, {record_id: vector for record_id, vector in latest.items() if vector is not None})
            self._publish(seq)
            self.version += 1
            self._note_deaths()

    def load(self, deleted: Sequence[tuple[int, bytes]], puts: Puts) -> None:
        """Take a section of a dump, before anybody reads. In dumps of different times a record may be there twice."""
        for seq, record_id in deleted:
            if seq > self.covered_seq:
                self._delete(seq, [record_id])
        replaced = 0
        for seq, together in groupby(zip(puts.born.tolist(), puts.ids, strict=True), _FIRST):
            replaced += len(self._kill([record_id for _, record_id in together], seq))
        self.active.append_stored(puts.born, puts.ids, puts.rows)
        self.live += len(puts.ids) - replaced

    def forget_deleted(self) -> None:
        """Forget deletions of what is in no segment, nor in one that is being built: no file needs to be told."""
        with self.lock:
            if self.frozen is None:
                tables = [segment.ids for segment in self.segments]
                self.deleted = [each for each in self.deleted if any(table.find(each[1]) >= 0 for table in tables)]

    def loaded(self, seq: int) -> None:
        """Let readers see what was loaded."""
        self.dumped_seq = self.changed_seq = seq
        self._publish(max(seq, self.covered_seq))

    def _ignores(self, seq: int) -> bool:
        """Whether a change is old (the segments have it), or will come or came with the rebuild."""
        return seq <= max(self.covered_seq, self.rebuilt_seq) or bool(self.damaged and self._since_rebuild is None)

    def _delete(self, seq: int, record_ids: list[bytes]) -> None:
        killed = self._kill(record_ids, seq)
        self.live -= len(killed)
        self.deleted.extend((seq, record_id) for record_id in killed)

    def _put(self, seq: int, vectors: Mapping[bytes, Vector]) -> None:
        if not vectors:
            return
        stacked = stack(list(vectors.values()))
        assert len(stacked) == len(vectors) * self.spec.dimensions, "a vector was not checked before it was journaled"
        replaced = len(self._kill(list(vectors), seq))
        self.active.append(seq, list(vectors), stacked)
        self.live += len(vectors) - replaced

    def _kill(self, record_ids: list[bytes], seq: int) -> list[bytes]:
        """Let the rows of these records die, each of which is in one place at most; return who had one."""
        if not record_ids:
            return []
        killed = self.active.kill_many(record_ids, seq)
        places: tuple[Delta | Segment, ...] = (*((self.frozen,) if self.frozen else ()), *self.segments)
        for place in places:
            found = place.kill_many(record_ids, seq)
            if found and self._died_since is not None:
                self._died_since.update(dict.fromkeys(found, seq))
            killed += found
        return killed

    def _note_deaths(self) -> None:
        """Let recall be measured anew when enough of what graphs hold has died since."""
        dead = sum(segment.dead for segment in self.segments)
        if dead - self._dead_known > DEATHS_SHARE * sum(segment.rows for segment in self.segments):
            self._dead_known = dead
            self.effort.changed()

    def _publish(self, seq: int) -> None:
        deltas = (self.active.rows(),) if self.frozen is None else (self.frozen.rows(), self.active.rows())
        self.snapshot = Snapshot(seq, self.segments, deltas, self.live)
        self.standing = None

    # -- merges -----------------------------------------------------------------------------------------------------

    def freeze(self, seq: int, taken: Sequence[Segment]) -> Frozen:
        """Begin a merge of the delta and some segments; changes go to a new delta from here on.

        seq: of the last commit that is applied to every space.
        """
        with self.lock:
            assert self.frozen is None
            self.version += 1
            # A rebuild brings rows of a state that the view as a whole may not have reached yet.
            seq = max(seq, self.changed_seq, self.rebuilt_seq)
            # As many may come again while this is merged: to grow then would hold up who tells of them.
            later = Delta(self.spec, self._delta_rows_max, self.active.count)
            self.frozen, self.active = self.active, later
            self._died_since = {}
            self._publish(seq)
            self.version += 1
            kept = tuple(segment for segment in self.segments if segment not in taken)
            # While a rebuild goes on, rows as old as its beginning are still to come.
            covered_seq = seq if self._since_rebuild is None else self.rebuilt_seq - 1
            return Frozen(seq, covered_seq, tuple(taken), kept, self.frozen)

    def thaw(self) -> None:
        """End a merge that failed: what was frozen goes before what came since."""
        with self.lock:
            if self.frozen is None:
                return
            self.version += 1
            late, self.active = self.active, self.frozen
            alive = late.alive_at(self.snapshot.seq)
            if len(alive):
                ids = [late.ids[row] for row in alive.tolist()]
                self.active.append_stored(late.born[alive], ids, late.stored[alive])
            self.frozen, self._died_since = None, None
            self._publish(self.snapshot.seq)
            self.version += 1

    def settle(self, frozen: Frozen, built: Segment | None) -> None:
        """End a merge: the built segment, if any row was left, takes the place of what was frozen."""
        done: set[bytes] = set()
        if built is not None:
            # Most of what died meanwhile is carried over before anybody has to wait for it.
            done = self._carry_over(built, done)
        with self.lock:
            self.version += 1
            if built is not None:
                self._carry_over(built, done)
            merged = (*frozen.kept, *((built,) if built is not None else ()))
            self.segments = tuple(sorted(merged, key=lambda segment: -segment.rows))
            self.frozen, self._died_since = None, None
            self.effort.changed()
            self._dead_known = sum(segment.dead for segment in self.segments)
            self.covered_seq = frozen.covered_seq
            self.deleted = [(seq, record_id) for seq, record_id in self.deleted if seq > frozen.covered_seq]
            self._publish(max(self.snapshot.seq, frozen.seq))
            self.version += 1

    def _carry_over(self, built: Segment, done: set[bytes]) -> set[bytes]:
        died = dict(self._died_since or {})
        for seq, together in groupby(sorted((died[record_id], record_id) for record_id in died.keys() - done), _FIRST):
            built.kill_many([record_id for _, record_id in together], seq)
        return set(died)

    # -- rebuilding -------------------------------------------------------------------------------------------------

    def begin_rebuild(self, number: int, seq: int) -> None:
        """Begin anew under another number, so that nothing of before is taken for its own.

        seq: of the state that `bring` will bring, or an older one; changes up to it are ignored from here on.
        """
        with self.lock:
            self.version += 1
            self.number = number
            self.segments, self.frozen, self.active = (), None, Delta(self.spec, self._delta_rows_max)
            self._died_since, self._since_rebuild = None, set()
            self.deleted, self.live, self.dumped_seq = [], 0, 0
            self.rebuilt_seq, self.covered_seq = seq, seq - 1
            self.damaged, self.rebuild_saved = self.damaged or "asked for", False
            self._publish(seq)
            self.version += 1

    def bring(self, vectors: Mapping[bytes, Vector]) -> None:
        """Take vectors from the records, unless the record changed since the rebuild began."""
        with self.lock:
            since = self._since_rebuild
            assert since is not None
            self.version += 1
            self._put(self.rebuilt_seq, {key: vector for key, vector in vectors.items() if key not in since})
            self._publish(max(self.rebuilt_seq, self.snapshot.seq))
            self.version += 1

    def end_rebuild(self) -> None:
        """Answer again."""
        with self.lock:
            self._since_rebuild, self.damaged = None, ""

    # -- what it is -------------------------------------------------------------------------------------------------

    def readable(self) -> Snapshot:
        """Return the snapshot to read. Raises SpaceRebuilding."""
        if self.damaged:
            raise SpaceRebuilding(f"the vectors of {self.name} are being rebuilt: {self.damaged}")
        return self.snapshot

    def damage_as_of(self, seq: int) -> str:
        """Return why a checkpoint at seq cannot hold the space, or an empty text."""
        return self.damaged or ("being rebuilt" if self.rebuilt_seq > seq else "")

    @property
    def delta_rows(self) -> int:
        """Rows that are in no segment."""
        frozen = self.frozen
        return self.active.count + (frozen.count if frozen is not None else 0)

    @property
    def delta_bytes(self) -> int:
        """Memory of the deltas."""
        frozen = self.frozen
        return self.active.bytes_used + (frozen.bytes_used if frozen is not None else 0)
