"""What the workload has seen in replies: guesses that make guards hold often enough."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.crash.records import Key

Namespace = tuple[str, ...]


@dataclass
class Hints:
    """By key of the record, or whatever else they belong to."""

    versions: dict[Key, int] = field(default_factory=dict)
    revisions: dict[Key, int] = field(default_factory=dict)
    nexts: dict[Key, int] = field(default_factory=dict)
    ranges: dict[tuple[int, Namespace], int] = field(default_factory=dict)
    conversations: list[tuple[Namespace, str]] = field(default_factory=list)
    solo_cursor: dict[Namespace, bytes] = field(default_factory=dict)
    # By namespace and vector space: memories without a vector there, messages without one (by conversation,
    # incarnation and position), and as of when there were no such memories.
    lacking: dict[tuple[Namespace, str], tuple[tuple[str, int], ...]] = field(default_factory=dict)
    lacking_messages: dict[tuple[Namespace, str], tuple[tuple[str, int, int], ...]] = field(default_factory=dict)
    whole: dict[tuple[Namespace, str], int] = field(default_factory=dict)
