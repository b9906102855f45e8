"""Memories, vector spaces and settings of search of a chunk of lines into the store; an id says which a line is."""

from __future__ import annotations

from collections.abc import Container, Iterable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from recollectd.cli.transfer.chunks import Numbered, Report, naming_lines
from recollectd.cli.transfer.lines import MemoryLine, SearchSettingsLine, VectorSpaceLine
from recollectd.protocol.errors import AlreadyExists, InvalidArgument, NotFound

if TYPE_CHECKING:
    from recollectd.client import Client, NewMemory
    from recollectd.client.results import Memory

_SETTINGS = ("language", "stemming", "stop_words", "messages", "accesses")
_UNCONFIGURED = SearchSettingsLine()
BATCH = 200
"""Memories of one commit: with vectors some of them are as large as all the rest."""


def store_spaces(client: Client, chunk: list[Numbered[VectorSpaceLine]], report: Report) -> None:
    """Create the spaces, or aliases, that are not there."""
    there = {space.name for space in client.vector_spaces.list()}
    for numbered in chunk:
        line = numbered.line
        if line.name in there:
            report.skip("vector_space", 1)
            continue
        with naming_lines([numbered]), suppress(AlreadyExists):
            if line.alias_of:
                client.vector_spaces.alias(line.name, line.alias_of)
            else:
                metric: Any = line.metric
                precision: Any = line.precision
                client.vector_spaces.create(
                    line.name, line.dimensions, metric=metric, precision=precision, model=line.model
                )
            report.add("vector_space", 1)


def store_settings(client: Client, chunk: list[Numbered[SearchSettingsLine]], report: Report) -> None:
    """Configure how the namespace is searched, unless that was done before."""
    for numbered in chunk:
        line, there = numbered.line, client.memories.search_settings()
        told = {name: getattr(line, name) for name in _SETTINGS}
        if any(getattr(there, name) != getattr(_UNCONFIGURED, name) for name in _SETTINGS):
            report.skip("search_settings", 1)
            continue
        with naming_lines([numbered]):
            client.memories.configure_search(**told)
        report.add("search_settings", 1)


def store_memories(
    client: Client, chunk: list[Numbered[MemoryLine]], report: Report, *, now: datetime
) -> list[tuple[str, str]]:
    """Add what is not there, in order; return what is superseded by memories that may come later, to be said then."""
    from recollectd.client import NewMemory  # slow to import, and not needed by other kinds

    living: list[Numbered[MemoryLine]] = []
    for numbered in chunk:
        ends = numbered.line.expires_at
        if ends is not None and datetime.fromisoformat(ends) <= now:
            report.expired += 1
        else:
            living.append(numbered)
    superseded: list[tuple[str, str]] = []
    for start in range(0, len(living), BATCH):
        lines = living[start : start + BATCH]
        new = [
            NewMemory(
                line.text,
                line.memory_id,
                line.memory_kind,
                line.metadata,
                line.importance,
                line.pinned,
                line.valid_at,
                line.place,
                line.derived_from,
                line.conversation_id,
                line.vectors,
                None if line.expires_at is None else (datetime.fromisoformat(line.expires_at) - now).total_seconds(),
            )
            for _, line in lines
        ]
        with naming_lines(lines):
            existing = client.memories.get_many([line.memory_id for _, line in lines])
            fresh = {each.memory_id: each for each in new if each.memory_id not in existing}
            if fresh:
                client.memories.add_many(fresh.values())
        report.add("memory", len(fresh))
        report.skip("memory", len(lines) - len(fresh))
        _count_vectors(new, fresh, report)
        for _, line in lines:
            if line.memory_id not in fresh and not _as_added(existing[line.memory_id], line):
                continue
            if line.forgotten_at is not None:
                client.memories.forget(line.memory_id)
            if line.superseded_by is not None:
                superseded.append((line.memory_id, line.superseded_by))
    return superseded


def _as_added(memory: Memory, line: MemoryLine) -> bool:
    """Tell whether a memory is as an import adds it: one that was broken off may not have come to hiding it."""
    return memory.text == line.text and memory.version == 1 and memory.updated_at == memory.created_at


def _count_vectors(new: Iterable[NewMemory], fresh: Container[str | None], report: Report) -> None:
    for each in new:
        if each.vectors:
            count = report.add if each.memory_id in fresh else report.skip
            count("vector", len(each.vectors))


def store_superseded(client: Client, superseded: list[tuple[str, str]]) -> None:
    """Say what is superseded by what; a memory that is not there supersedes nothing.

    What would close a circle, as daemons once took it, is forgotten: it was hidden, too.
    """
    for memory_id, superseded_by in superseded:
        with suppress(NotFound):
            try:
                client.memories.supersede(memory_id, superseded_by)
            except InvalidArgument:
                client.memories.forget(memory_id)
