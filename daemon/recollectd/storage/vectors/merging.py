"""When a space's delta becomes a segment, and which segments it takes with it.

A space has at most two: the base, and a small one that takes up deltas until it is worth writing the base again. The
more equal segments, the dearer a search; the larger what a delta is merged into, the dearer the merge.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from recollectd.storage.durable import FOLDER_MODE
from recollectd.storage.vectors.builders import Builder
from recollectd.storage.vectors.building import CHUNK_ROWS, Built, Job, Progress, write_dead
from recollectd.storage.vectors.delta import Delta
from recollectd.storage.vectors.durability import Durability
from recollectd.storage.vectors.errors import BuildFailed, BuildStopped
from recollectd.storage.vectors.files import write_parts
from recollectd.storage.vectors.manifest import GRAPH_NAME, IDS_NAME, ROWS_NAME, SegmentEntry
from recollectd.storage.vectors.options import VectorOptions
from recollectd.storage.vectors.parking import SECOND, WHOLE, Parking
from recollectd.storage.vectors.placing import Source
from recollectd.storage.vectors.segment import Segment
from recollectd.storage.vectors.space import Frozen, Space

PRESSED_FLUSHES: Final = 2
PRESSED_SHARE: Final = 4

# On disk while a segment is built: what the delta brings.
DELTA_ROWS_NAME: Final = "delta-rows"
DELTA_IDS_NAME: Final = "delta-ids"
SOURCE_DEAD_NAME: Final = "source-{}"


class Plan(NamedTuple):
    """taken: the segments to merge with the delta; extend: the one of them whose graph goes on, or None.

    whole: no byte of what died may be left.
    """

    taken: tuple[Segment, ...]
    extend: Segment | None
    whole: bool = False


def is_due(space: Space, options: VectorOptions) -> bool:
    """Whether a space should be merged by itself."""
    delta = space.active
    if space.damaged:
        return delta.count >= options.flush_rows
    # Deletions are kept, and written with each checkpoint, until a merge has seen to them.
    waste = delta.dead + len(space.deleted)
    worn = any(segment.dead > segment.rows * options.rebuild_share for segment in space.segments)
    return delta.count >= options.flush_rows or waste > max(options.flush_rows, delta.live) or worn


def is_left(space: Space, options: VectorOptions) -> bool:
    """Whether a space that is searched by graphs has rows beside them and has not changed since it was asked before."""
    asked, space.asked_seq = space.asked_seq, space.changed_seq
    if space.damaged or space.active.count < options.quiet_rows_min or space.live <= options.exact_rows_max:
        return False
    return asked == space.changed_seq


def plan(space: Space, durability: Durability) -> Plan:
    """Return how a space is merged best."""
    options = durability.options
    if not space.segments:
        return Plan((), None)
    base, small = space.segments[0], space.segments[1:]
    if _is_worn(base, options):
        return Plan(space.segments, None)
    if durability.parked_folder(space, base.entry.number).is_dir():
        return Plan(space.segments, base)  # it was begun before
    arriving = sum(segment.live for segment in small) + space.active.live
    if base.has_graph and arriving < base.rows * _small_share(space, options):
        goes_on = next((segment for segment in small if segment.has_graph and not _is_worn(segment, options)), None)
        return Plan(small, goes_on)
    return Plan(space.segments, base if base.has_graph else None)


def _small_share(space: Space, options: VectorOptions) -> float:
    """Return how large a part of the base the second segment may become.

    Where more waits than a merge takes that was begun in time, vectors come faster than they are merged: then entering
    each of them twice costs more than writing the base more often.
    """
    pressed = space.active.count >= PRESSED_FLUSHES * options.flush_rows
    return options.small_share / PRESSED_SHARE if pressed else options.small_share


def plan_whole(space: Space) -> Plan:
    """Return a plan after which nothing that died is left in any file."""
    return Plan(space.segments, None, whole=True)


def has_remains(space: Space) -> bool:
    """Whether a segment holds bytes of what died."""
    return any(segment.dead or segment.entry.residue for segment in space.segments)


def _is_worn(segment: Segment, options: VectorOptions) -> bool:
    return segment.entry.churn + segment.dead > segment.rows * options.rebuild_share


def merge(space: Space, plan: Plan, seq: int, durability: Durability, builder: Builder, progress: Progress) -> int:
    """Merge; readers and writers go on meanwhile. Raises BuildFailed, FileDamaged, OSError: then nothing has changed.

    seq: of the last commit applied to every space. One merge at a time. Returns how many rows a build that was cut off
    had entered before.
    """
    frozen = space.freeze(seq, plan.taken)
    number = durability.take_number()
    durability.building = frozenset((number,))
    try:
        built, saved = _build(space, frozen, plan, number, durability, builder, progress)
        with durability.lock:
            durability.building = frozenset()
            if space.dropped or space.frozen is not frozen.delta:
                return 0  # what was built is removed with the next step
            durability.commit(space, frozen, built)
            space.settle(frozen, built)
            # Where the base stays as it was, its being built anew may still be gone on with.
            whole = () if frozen.kept else (WHOLE, SECOND)
            durability.remove_parked(space, (_what(plan, frozen), *whole, *_numbers(plan.taken)))
        return saved
    finally:
        durability.building = frozenset()
        if space.frozen is frozen.delta:
            space.thaw()


def _build(
    space: Space, frozen: Frozen, plan: Plan, number: int, durability: Durability, builder: Builder, progress: Progress
) -> tuple[Segment | None, int]:
    live = sum(int((~segment.dead_at(frozen.seq)).sum()) for segment in frozen.segments)
    alive = frozen.delta.alive_at(frozen.seq)
    if not live and not len(alive):
        return None, 0
    folder = durability.segment_folder(number)
    folder.mkdir(FOLDER_MODE)
    try:
        job = _job(space, frozen, plan, folder, durability)
        built = builder.build(job, progress)
        _remove_inputs(folder)
        beside = durability.graph_bytes_beside(space, frozen.kept)
        return durability.open_segment(_entry(number, built), space, beside), built.saved
    except BuildStopped:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except BuildFailed:
        # Should what was parked be the reason, it is so once.
        durability.remove_parked(space, (_what(plan, frozen),))
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _job(space: Space, frozen: Frozen, plan: Plan, folder: Path, durability: Durability) -> Job:
    options = durability.options
    segments = sorted(frozen.segments, key=lambda segment: segment is not plan.extend)
    sources = [_segment_source(segment, frozen.seq, folder) for segment in segments]
    sources.append(_delta_source(frozen.delta, frozen.seq, folder))
    extend = plan.extend
    parked = os.fspath(durability.parked_folder(space, _what(plan, frozen)))
    return Job(
        folder=os.fspath(folder),
        spec=space.spec,
        seq=frozen.seq,
        sources=tuple(sources),
        graph=extend is not None or space.live > options.exact_rows_max,
        connectivity=options.connectivity,
        expansion_add=options.expansion_add,
        threads=options.build_threads,
        extend=os.fspath(extend.folder / GRAPH_NAME) if extend is not None else "",
        scale=extend.entry.scale if extend is not None else 1.0,
        churn=extend.entry.churn if extend is not None else 0,
        residue=extend.entry.residue if extend is not None else 0,
        parking=Parking(parked, options.parking_interval_s, spotless=plan.whole),
    )


def _what(plan: Plan, frozen: Frozen) -> int | str:
    """Return what a merge builds, as what it parks is called."""
    if plan.extend is not None:
        return plan.extend.entry.number
    return SECOND if frozen.kept else WHOLE


def _numbers(segments: Sequence[Segment]) -> Iterator[int]:
    return (segment.entry.number for segment in segments)


def forget_parked(space: Space, durability: Durability) -> None:
    """Throw away everything that was parked for a space."""
    durability.remove_parked(space, (WHOLE, SECOND, *_numbers(space.segments)))


def _segment_source(segment: Segment, seq: int, folder: Path) -> Source:
    path = folder / SOURCE_DEAD_NAME.format(segment.entry.number)
    path = path.with_name(write_dead(folder, seq, segment.dead_at(seq))[0]).rename(path)
    rows, ids = segment.folder / ROWS_NAME, segment.folder / IDS_NAME
    return Source(os.fspath(rows), os.fspath(ids), segment.rows, table=True, dead=os.fspath(path))


def _delta_source(delta: Delta, seq: int, folder: Path) -> Source:
    """Write the delta's live rows, in steps that let others run."""
    alive = delta.alive_at(seq)
    rows, ids = folder / DELTA_ROWS_NAME, folder / DELTA_IDS_NAME
    write_parts(rows, delta.parts(alive, CHUNK_ROWS))
    write_parts(ids, [msgspec.msgpack.encode([delta.ids[row] for row in alive.tolist()])])
    return Source(os.fspath(rows), os.fspath(ids), len(alive), table=False)


def _remove_inputs(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name in (DELTA_ROWS_NAME, DELTA_IDS_NAME) or path.name.startswith(SOURCE_DEAD_NAME.format("")):
            path.unlink()


def _entry(number: int, built: Built) -> SegmentEntry:
    return SegmentEntry(
        *(number, built.rows, built.files),
        scale=built.scale,
        churn=built.churn,
        residue=built.residue,
        dead=built.dead,
        dead_mark=built.dead_mark,
    )
