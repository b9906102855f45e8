"""Apply: commits become rows. The same commits give the same rows, at run time and on replay alike."""

from __future__ import annotations

from collections.abc import Iterable

from recollectd.memory.commits import APPLY, Commit
from recollectd.memory.kind import Mark
from recollectd.storage.keyspace import Write


def writes_of(commits: Iterable[tuple[int, Commit]]) -> list[Write]:
    """Return the rows of commits (seq, commit) in order."""
    writes: list[Write] = []
    for seq, commit in commits:
        mark = Mark(seq, commit.time)
        for event in commit.events:
            apply = APPLY.get(type(event))
            if apply is not None:
                apply(event, mark, writes)
    return writes
