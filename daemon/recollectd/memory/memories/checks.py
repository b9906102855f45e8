"""Checks of what callers say of memories and vectors; each refusal names the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from recollectd._native import vector_scan
from recollectd.memory.memories.heads import SpaceHead
from recollectd.memory.values import check_metadata
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.memories import NewMemory
from recollectd.storage.keyspace import text_bytes

# What searches call arms that are no vector space, in weights and details.
OTHER_ARMS: Final = ("keyword", "expansion")
METRICS: Final = ("cosine", "dot", "l2")
PRECISIONS: Final = ("f32", "bf16", "i8")
_COMPONENT_BYTES: Final = 4
# Within these the squares of float32 components neither vanish nor overflow when they are added as float32.
_NORM_MIN: Final = 1e-18
_NORM_MAX: Final = 1e18


def check_memory(memory: NewMemory, where: str) -> int:
    """Refuse a memory that is out of bounds; return about how many bytes it has. where: its field, with a dot."""
    size = len(text_bytes(memory.text, f"{where}text", limits.TEXT_BYTES_MAX))
    if memory.memory_id is not None:
        text_bytes(memory.memory_id, f"{where}memory_id", limits.KEY_BYTES_MAX)
    text_bytes(memory.kind, f"{where}kind", limits.LABEL_BYTES_MAX, empty=True)
    check_metadata(memory.metadata, f"{where}metadata")
    if memory.conversation_id is not None:
        text_bytes(memory.conversation_id, f"{where}conversation_id", limits.KEY_BYTES_MAX)
    if len(memory.derived_from) > limits.DERIVED_FROM_MAX:
        raise errors.InvalidArgument(f"names more than {limits.DERIVED_FROM_MAX} ids", field=f"{where}derived_from")
    for index, source in enumerate(memory.derived_from):
        text_bytes(source, f"{where}derived_from[{index}]", limits.KEY_BYTES_MAX)
    check_number(memory.importance, f"{where}importance", 0.0, 1.0)
    if memory.place is not None:
        check_number(memory.place[0], f"{where}place[0]", -90.0, 90.0)
        check_number(memory.place[1], f"{where}place[1]", -180.0, 180.0)
    if memory.vectors is not None:
        check_vectors(memory.vectors, f"{where}vectors")
    return size + (0 if memory.metadata is None else memoryview(memory.metadata).nbytes)


def check_number(number: float | None, field: str, least: float, most: float) -> None:
    """Refuse a number that is none, or out of bounds."""
    if number is not None and not (math.isfinite(number) and least <= number <= most):
        raise errors.InvalidArgument(f"must be {least:g} to {most:g}, not {number:g}", field=field)


def check_vectors(vectors: Mapping[str, bytes], field: str) -> None:
    """Refuse vectors that no space could hold: with NaN, infinity or no length."""
    if len(vectors) > limits.VECTORS_PER_MEMORY_MAX:
        raise errors.InvalidArgument(f"has more than {limits.VECTORS_PER_MEMORY_MAX} spaces", field=field)
    for name, components in vectors.items():
        text_bytes(name, field, limits.LABEL_BYTES_MAX)
        where = f"{field}[{name!r}]"
        if not components or len(components) % _COMPONENT_BYTES:
            raise errors.InvalidArgument("must be float32 components, 4 bytes each", field=where)
        if len(components) > limits.VECTOR_DIMENSIONS_MAX * _COMPONENT_BYTES:
            raise errors.InvalidArgument(f"has more than {limits.VECTOR_DIMENSIONS_MAX} components", field=where)
        norm = vector_scan.norm(components, len(components) // _COMPONENT_BYTES)
        if not math.isfinite(norm):  # of doubles: floats alone cannot overflow it
            raise errors.InvalidArgument("has a component that is NaN or infinite", field=where)
        if not _NORM_MIN < norm < _NORM_MAX:
            raise errors.InvalidArgument("has no length, or one that is out of bounds", field=where)


def check_dimensions(components: bytes, space: SpaceHead, field: str) -> None:
    """Refuse a vector that is not of its space's size."""
    dimensions = len(components) // _COMPONENT_BYTES
    if dimensions != space.dimensions:
        raise errors.InvalidArgument(
            f"has {dimensions} components; the space has {space.dimensions} dimensions", field=field
        )
