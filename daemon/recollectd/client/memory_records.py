"""Memories between callers' structures and messages."""

from __future__ import annotations

from typing import Any

from recollectd.client import arguments
from recollectd.client.arguments import items_of, name, number, optional_name, plain
from recollectd.client.results import Memory, MemoryVersion, NewMemory
from recollectd.client.times import iso_time, optional_iso_time, optional_valid_at_us, ttl_us
from recollectd.client.vectors import packed_vectors, unpacked_vectors
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import memories as messages


def wire_memory(new: NewMemory, where: str) -> messages.NewMemory:
    """Return a memory as messages carry it. where: its field with a dot, for errors."""
    if not isinstance(new, NewMemory):
        raise errors.InvalidArgument(f"must be a NewMemory, not {type(new).__name__}", field=where.rstrip("."))
    return messages.NewMemory(
        name(new.text, f"{where}text", limits.TEXT_BYTES_MAX),
        optional_name(new.memory_id, f"{where}memory_id"),
        arguments.free_text(new.kind, f"{where}kind"),
        arguments.metadata(new.metadata, f"{where}metadata"),
        None if new.importance is None else number(new.importance, f"{where}importance"),
        bool(new.pinned),
        optional_valid_at_us(new.valid_at, f"{where}valid_at"),
        _place(new.place, f"{where}place"),
        tuple(
            name(each, f"{where}derived_from[{index}]")
            for index, each in enumerate(items_of(new.derived_from, f"{where}derived_from"))
        ),
        optional_name(new.conversation_id, f"{where}conversation_id"),
        packed_vectors(new.vectors, f"{where}vectors"),
        ttl_us(new.ttl),
    )


def _place(place: tuple[float, float] | None, field: str) -> tuple[float, float] | None:
    if place is None:
        return None
    try:
        latitude, longitude = place
    except (TypeError, ValueError):
        raise errors.InvalidArgument("must be latitude and longitude", field=field) from None
    return number(latitude, f"{field}[0]"), number(longitude, f"{field}[1]")


def memory_of(wire: messages.Memory) -> Memory:
    """Return a memory as callers see it."""
    metadata: dict[str, Any] | None = plain(wire.metadata)
    return Memory(
        wire.memory_id,
        wire.text,
        wire.version,
        iso_time(wire.created_at),
        iso_time(wire.updated_at),
        wire.kind,
        metadata,
        wire.importance,
        wire.pinned,
        optional_iso_time(wire.valid_at),
        wire.place,
        wire.derived_from,
        wire.conversation_id,
        wire.position,
        optional_iso_time(wire.expires_at),
        optional_iso_time(wire.forgotten_at),
        optional_iso_time(wire.superseded_at),
        wire.superseded_by,
        unpacked_vectors(wire.vectors),
        wire.role,
        wire.access_count,
        optional_iso_time(wire.last_accessed),
    )


def as_new(found: Memory) -> NewMemory:
    """Return what would write a memory's contents again, without its vectors and time to live."""
    return NewMemory(
        found.text,
        found.memory_id,
        found.kind,
        found.metadata,
        found.importance,
        found.pinned,
        found.valid_at,
        found.place,
        found.derived_from,
        found.conversation_id,
    )


def version_of(wire: messages.MemoryVersion) -> MemoryVersion:
    """Return a version as callers see it."""
    written = wire.memory
    if written is None:
        return MemoryVersion(wire.version, iso_time(wire.updated_at), None)
    metadata: dict[str, Any] | None = plain(written.metadata)
    new = NewMemory(
        written.text,
        written.memory_id,
        written.kind,
        metadata,
        written.importance,
        written.pinned,
        optional_iso_time(written.valid_at),
        written.place,
        written.derived_from,
        written.conversation_id,
    )
    return MemoryVersion(wire.version, iso_time(wire.updated_at), new)
