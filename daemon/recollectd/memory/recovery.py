"""Recovery: from what is on disk to views that agree with the journal. The only way a store comes up.

The records' rows say which commit they are at, the sessions' rows too; the journal is replayed from the older of the
two, each view taking what it lacks. A view that is ahead of the journal would hand out sequence numbers twice: refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from recollectd.journal.interface import Journal
from recollectd.memory import commits
from recollectd.memory.apply import writes_of
from recollectd.memory.sessions import Sessions
from recollectd.memory.settings.events import HistoryPolicy
from recollectd.memory.settings.policies import Policies
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.engine import Engine
from recollectd.storage.engine_errors import EngineStalled
from recollectd.storage.keyspace import INDEX_SESSION, SESSIONS_KEY, Family, Write, after_prefix, unpack_number

Progress = Callable[[int, int], None]

_STEP_ROWS = 1_000
_STALL_PAUSE_S = 0.01


class ViewAheadError(Exception):
    """A view holds commits the journal does not have: the journal was replaced by an older one."""

    def __init__(self, view: str, view_seq: int, journal_seq: int) -> None:
        super().__init__(
            f"the {view} are at commit {view_seq}, the journal ends at {journal_seq}: the journal is older than the "
            "records. Restore both from the same backup."
        )


class Recovered(NamedTuple):
    """The views, as of the journal's end. replayed: commits applied to the records."""

    sessions: Sessions
    sessions_seq: int
    policies: Policies
    replayed: int


def recover(engine: Engine, journal: Journal, default_policy: HistoryPolicy, progress: Progress) -> Recovered:
    """Bring the views up to the journal's end. progress(done, all) is told of commits replayed.

    Raises ViewAheadError, JournalCorrupt, JournalTrimmed (rows older than the journal's beginning).
    """
    sessions = Sessions()
    sessions.load(walk_all(engine, Family.INDEX, INDEX_SESSION))
    row = engine.get_many(Family.META, (SESSIONS_KEY,))[0]
    sessions_seq = 0 if row is None else unpack_number(row)
    for view, seq in (("records", engine.applied_seq), ("sessions", sessions_seq)):
        if seq > journal.last_seq:
            raise ViewAheadError(view, seq, journal.last_seq)
    replayed = _replay(engine, journal, sessions, sessions_seq, progress)
    settings = walk_all(engine, Family.HEADS, bytes((Kind.SETTINGS,)))
    decode = msgspec.msgpack.Decoder(HistoryPolicy).decode
    policies = Policies(default_policy, ((key, decode(value)) for key, value in settings))
    return Recovered(sessions, sessions_seq, policies, replayed)


def _replay(engine: Engine, journal: Journal, sessions: Sessions, sessions_seq: int, progress: Progress) -> int:
    """Apply what each view lacks."""
    start = min(engine.applied_seq, sessions_seq)
    first_applied = engine.applied_seq
    if start == journal.last_seq:
        return 0
    for batch in journal.read(start + 1):
        writes: list[Write] = []
        last_seq = 0
        for index, payload in enumerate(batch.entries):
            seq = batch.first_seq + index
            if seq <= start:
                continue
            commit = commits.decode(payload)
            if seq > sessions_seq:
                sessions.apply(seq, commit)
            if seq > engine.applied_seq:
                writes_of(seq, commit, writes)
                last_seq = seq
        if last_seq:
            write_patiently(engine, writes, last_seq)
        progress(batch.last_seq - start, journal.last_seq - start)
    return engine.applied_seq - first_applied


def write_patiently(engine: Engine, writes: list[Write], applied_seq: int) -> None:
    """Write, waiting while RocksDB is behind with flushing. For start-up, before there is a loop to hold up."""
    while True:
        try:
            return engine.write(writes, applied_seq)
        except EngineStalled:
            time.sleep(_STALL_PAUSE_S)


def walk_all(engine: Engine, family: Family, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over all rows that begin with a prefix, in steps."""
    start, stop = prefix, after_prefix(prefix)
    while True:
        step = engine.walk(family, start, stop, keys_max=_STEP_ROWS)
        yield from step
        if not step:
            return
        start = step[-1][0] + b"\0"
