"""Apply: commits become rows. The same commits give the same rows, at run time and on replay alike."""

from __future__ import annotations

from recollectd.memory.commits import APPLY, Commit
from recollectd.memory.kind import Mark
from recollectd.storage.keyspace import Write


def writes_of(seq: int, commit: Commit, writes: list[Write]) -> None:
    """Add the rows of one commit."""
    mark = Mark(seq, commit.time)
    for event in commit.events:
        apply = APPLY.get(type(event))
        if apply is not None:
            apply(event, mark, writes)
